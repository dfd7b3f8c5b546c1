"""What a run has done, one line for each image, beside its results: an interrupted run goes on where it was."""

from __future__ import annotations

import fcntl
import json
import os
import time
from array import array
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError

from segdino_deploy.atomic import disk_errors, sha256_of
from segdino_deploy.errors import InputError, one_line
from segdino_deploy.folders.jobs import Jobs
from segdino_deploy.folders.records import HeadResult, ImageResult, printable
from segdino_deploy.manifest import Record

JOURNAL = ".predict.jsonl"
SCHEMA_VERSION = 1
SYNC_SECONDS = 5.0  # between two times that lines are forced to disk
NOT_YET, DONE, FAILED = range(3)
# Options that only some runs note, and what the others have. Compared first, for further options follow from them.
DEFAULTS = {"--mode": "resize"}


class Head(Record):
    """The first line: what every result of the folder was made with."""

    schema_version: int = SCHEMA_VERSION
    tool_version: str
    engine: str  # backend and precision
    engine_sha256: str  # of the engine's files and of the model's card
    options: dict[str, str]  # those that results depend on


class Journal:
    """One JSON line per image, in the order in which they were done; the last one of an image counts.

    A context manager. Holds a lock: one run per output folder. In memory it keeps nine bytes for each image.
    What an earlier run left stays as it was until `begin`.
    """

    def __init__(self, head: Head, jobs: Jobs, resume: bool, folder: Path | None = None) -> None:
        """`folder`: where it lies, if not beside the results.

        Raises InputError: another run is writing there, it cannot be read and written, or with `resume` what is
        there was made with something else; SegdinoDeployError where there is no space left.
        """
        self.path = (folder or jobs.output) / JOURNAL
        self.resumed = 0  # images that an earlier run has done
        self._head, self._jobs = head, jobs
        self._has_begun = False
        self._states = bytearray(len(jobs))
        self._offsets = array("q", [-1]) * len(jobs)
        self._synced = time.monotonic()
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _open_locked(self.path)
        try:
            self.was_left = self._file.seek(0, os.SEEK_END) > 0  # by a run that did not come to its end
            self._goes_on = resume and self._read()
            self.could_go_on = self.was_left and not resume and self._has_some()  # but is not asked to
        except BaseException:
            self._file.close()
            raise

    def begin(self) -> None:
        """Call it before the first result is written."""
        with disk_errors(self.path):
            if self._goes_on:
                self._append(b"\n")  # behind a line that a kill may have cut
            else:
                self._file.truncate(0)
                self._append(_to_json(self._head))
            os.fsync(self._file.fileno())
        self._has_begun = True

    def is_done(self, index: int) -> bool:
        return self._states[index] == DONE

    @property
    def done(self) -> int:
        return self._states.count(DONE)

    def add(self, index: int, result: ImageResult) -> None:
        """Call it when the image's files are in place. SegdinoDeployError where there is no space left."""
        with disk_errors(self.path):
            self._keep(index, result, self._append(_to_json(result)))
            now = time.monotonic()
            if now - self._synced > SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced = now

    def results(self) -> Iterator[ImageResult]:
        """Of all images that have one, in the order of the jobs, read from disk one by one."""
        with self.path.open("rb") as file:
            for offset in self._offsets:
                if offset >= 0:
                    file.seek(offset)
                    yield ImageResult.model_validate_json(file.readline())

    def remove(self) -> None:
        """Everything is done: there is nothing to go on with."""
        with disk_errors(self.path):
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            os.fsync(self._file.fileno())
            if not self._has_begun and not self.was_left:
                self.remove()
        finally:
            self._file.close()  # and frees the lock

    def _keep(self, index: int, result: ImageResult, offset: int) -> None:
        self._states[index] = DONE if result.status == "ok" else FAILED
        self._offsets[index] = offset

    def _append(self, line: bytes) -> int:
        """Where the line begins. The file has no buffer: a kill loses no line, and cuts the last one at most."""
        offset = self._file.seek(0, os.SEEK_END)
        written = 0
        while written < len(line):
            written += self._file.write(line[written:])
        return offset

    def _has_some(self) -> bool:
        """Whether it was made with the same, and one of the images at least is done in it."""
        names = {printable(self._jobs.name(index)) for index in range(len(self._jobs))}
        with self.path.open("rb") as file:
            try:
                _require_same(_head(file.readline(), self.path), self._head, self.path)
            except InputError:
                return False
            results = map(_result, file)
            return any(result is not None and result.status == "ok" and result.image in names for result in results)

    def _read(self) -> bool:
        """Takes over what is done; False where there is nothing to go on with."""
        indices = {printable(self._jobs.name(index)): index for index in range(len(self._jobs))}
        with self.path.open("rb") as file:
            first = file.readline()
            if not first.endswith(b"\n"):  # killed before the first line was whole
                return False
            _require_same(_head(first, self.path), self._head, self.path)
            offset = file.tell()
            for line in file:
                result = _result(line)
                index = indices.get(result.image) if result is not None else None
                if result is not None and index is not None:
                    self._keep(index, result, offset)
                offset += len(line)
            for index, start in enumerate(self._offsets):
                if start >= 0:
                    file.seek(start)
                    if not self._still_holds(index, ImageResult.model_validate_json(file.readline())):
                        self._states[index], self._offsets[index] = NOT_YET, -1
        self.resumed = self.done
        return True

    def _still_holds(self, index: int, result: ImageResult) -> bool:
        """Not of an image that failed, that was changed since, or whose results are not there any more."""
        if result.status != "ok" or not _is_unchanged(result, self._jobs[index].image):
            return False
        return bool(result.heads) and all(_files_are_there(self._jobs.output, head) for head in result.heads)


def _open_locked(path: Path) -> FileIO:
    """The file that has the name now, locked. InputError where another run has it."""
    while True:
        file = path.open("a+b", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                return file
        except BlockingIOError as error:
            file.close()
            raise InputError(
                f"{path.parent}: another run is writing there; wait for it, or choose another -o"
            ) from error
        except OSError as error:  # some network file systems
            file.close()
            raise InputError(f"{path.parent}: cannot be locked ({one_line(error)}); choose another -o") from error
        file.close()  # the run that had it came to its end meanwhile, and removed it


def _require_same(found: Head, wanted: Head, path: Path) -> None:
    """InputError that names the first thing that differs: results of two engines are never mixed."""
    cure = "run with the same again, choose another -o, or leave --resume out to start anew"
    for what, was, now in (
        ("journal's form", found.schema_version, wanted.schema_version),
        ("version of segdino-deploy", found.tool_version, wanted.tool_version),
        ("engine", found.engine, wanted.engine),
        ("engine (sha256)", found.engine_sha256[:16], wanted.engine_sha256[:16]),
    ):
        if was != now:
            raise InputError(f"{path}: was written with another {what}: {was}, now {now}; {cure}")
    names = found.options.keys() | wanted.options.keys()
    for name in sorted(names, key=lambda name: (name not in DEFAULTS, name)):
        unset = DEFAULTS.get(name, "not set")
        was_set, is_set = found.options.get(name, unset), wanted.options.get(name, unset)
        if was_set != is_set:
            raise InputError(f"{path}: was written with another {name}: {was_set}, now {is_set}; {cure}")


def _head(line: bytes, path: Path) -> Head:
    try:
        return Head.model_validate_json(line)
    except ValidationError as error:
        raise InputError(
            f"{path}: is not a journal of this version; choose another -o, or leave --resume out to start anew"
        ) from error


def _result(line: bytes) -> ImageResult | None:
    """None: an empty line, or one that a kill has cut."""
    try:
        return ImageResult.model_validate_json(line)
    except ValidationError:
        return None


def _is_unchanged(result: ImageResult, image: Path) -> bool:
    try:
        status = image.stat()
        if status.st_size != result.size_bytes:
            return False
        return status.st_mtime_ns == result.mtime_ns or sha256_of(image) == result.sha256  # copied anew, perhaps
    except OSError:
        return False


def _files_are_there(output: Path, head: HeadResult) -> bool:
    files = [(head.mask, head.mask_bytes), (head.overlay, head.overlay_bytes)]
    try:
        return all((output / name).stat().st_size == size for name, size in files if name is not None)
    except OSError:
        return False


def _to_json(record: Record) -> bytes:
    return (json.dumps(record.model_dump(mode="json")) + "\n").encode()
