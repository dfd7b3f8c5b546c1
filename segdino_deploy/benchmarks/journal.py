"""Scores of images as they are made, on disk beside the bundle: an interrupted run goes on where it was."""

from __future__ import annotations

import json
import math
from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from pydantic import BaseModel, ValidationError

from segdino_deploy.atomic import disk_errors

Values = Mapping[str, float | None]  # metrics of one image


class _Head(BaseModel):
    """The first line."""

    key: str


class _Line(BaseModel):
    """Every other one."""

    of: str  # identity of the contestant
    sample: str  # digest of the image and its mask
    values: dict[str, float | None]


class Journal:
    """Numbers per image of each contestant. One JSON line for each image of each; the first line says of what.

    A context manager: what is left when an error or a kill ends it is read again by the next run with the same `key`.
    A sample is known by its content, so that an image that is added, removed or repaired costs no other one its scores.
    Eight bytes are kept in memory for each number, whatever the images' size.
    """

    def __init__(self, path: Path, key: str, identities: Mapping[str, str], samples: Sequence[str]) -> None:
        """`key`: of everything that the scores depend on but engines and samples; `identities`: of each contestant.

        `samples`: a digest of image and mask of each, in order. Raises InputError where `path` cannot be read and
        written, SegdinoDeployError where there is no space left.
        """
        self.path = path
        self.resumed = 0  # scores taken over from an earlier run
        self._identities = dict(identities)
        self._samples = list(samples)
        self._columns: dict[str, dict[str, array[float]]] = {name: {} for name in identities}
        self._done = {name: bytearray(len(self._samples)) for name in identities}
        with disk_errors(path):
            is_resumed = self._read(key)
            self._file = path.open("a" if is_resumed else "w", encoding="utf-8")
        if is_resumed:
            self._write_text("\n")  # behind a line that a kill may have cut
        else:
            self._write_text(_Head(key=key).model_dump_json() + "\n")

    def has(self, name: str, index: int) -> bool:
        return bool(self._done[name][index])

    def add(self, name: str, index: int, values: Values) -> None:
        """Keeps the metrics of one image; NaN and infinite values are None."""
        finite = {key: value if value is not None and math.isfinite(value) else None for key, value in values.items()}
        self._keep(name, index, finite)
        line = {"of": self._identities[name], "sample": self._samples[index], "values": finite}
        self._write_text(json.dumps(line) + "\n")

    def per_image(self, name: str) -> dict[str, list[float | None]]:
        """Metrics of one contestant, in the order of the images."""
        return {
            key: [None if math.isnan(value) else value for value in column]
            for key, column in self._columns[name].items()
        }

    def finish(self) -> None:
        """All scores are in a result: nothing is left to go on with."""
        self._file.close()
        with disk_errors(self.path):
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if not any(map(any, self._done.values())):  # ended before the first score
            self.path.unlink(missing_ok=True)

    def _keep(self, name: str, index: int, values: Values) -> None:
        columns = self._columns[name]
        for key, value in values.items():
            column = columns.setdefault(key, array("d", [math.nan]) * len(self._samples))
            column[index] = math.nan if value is None else value
        self._done[name][index] = 1

    def _read(self, key: str) -> bool:
        """Takes over what an earlier run left for the same key; False where there is nothing to go on with."""
        if not self.path.is_file():
            return False
        indices: defaultdict[str, list[int]] = defaultdict(list)  # several where files are copies of one another
        for index, sample in enumerate(self._samples):
            indices[sample].append(index)
        names = {identity: name for name, identity in self._identities.items()}
        with self.path.open("rb") as file:
            if not _is_head(next(file, b""), key):
                return False
            for text in file:
                line = _line(text)
                if line is not None and line.of in names:
                    for index in indices.get(line.sample, ()):
                        self.resumed += not self.has(names[line.of], index)
                        self._keep(names[line.of], index, line.values)
        return True

    def _write_text(self, text: str) -> None:
        with disk_errors(self.path):
            self._file.write(text)
            self._file.flush()


def _is_head(text: bytes, key: str) -> bool:
    try:
        return _Head.model_validate_json(text).key == key
    except ValidationError:
        return False


def _line(text: bytes) -> _Line | None:
    """None: the last line of a run that was killed in its middle, an empty one, or what a journal never held."""
    try:
        return _Line.model_validate_json(text)
    except ValidationError:
        return None
