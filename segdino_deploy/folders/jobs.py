"""What is to be segmented and where its results go, checked before the first image is read."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from posixpath import splitext
from typing import overload

from segdino_deploy.errors import InputError
from segdino_deploy.folders.collisions import refuse_collisions
from segdino_deploy.images import image_names, is_folder
from segdino_deploy.progress import OnStep, ignore


@dataclass(frozen=True)
class Target:
    """Where the results of one head go."""

    head: str
    mask: Path
    overlay: Path


@dataclass(frozen=True)
class Job:
    """One image and where its results go, head by head."""

    image: Path
    targets: tuple[Target, ...]
    name: str = ""  # of the image below its input folder; no two jobs of a plan share one


class Jobs(Sequence[Job]):
    """Jobs in the order of the inputs. Kept as names, about a hundred bytes each; a `Job` is made when asked for."""

    def __init__(self, output: Path, heads: Sequence[str], groups: Sequence[tuple[Path, list[str]]]) -> None:
        """`groups`: folders, and the names of images below each (with `/`)."""
        self.output = output
        self.heads = tuple(heads)
        self._groups = list(groups)
        self._ends = list(accumulate(len(names) for _, names in groups))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Job: ...
    @overload
    def __getitem__(self, index: slice) -> list[Job]: ...
    def __getitem__(self, index: int | slice) -> Job | list[Job]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        folder, name = self._find(index)
        targets = tuple(
            Target(head, self.output / mask, self.output / overlay)
            for head in self.heads
            for mask, overlay in [result_names(name, head)]
        )
        return Job(folder / name, targets, name)

    def __iter__(self) -> Iterator[Job]:
        return (self[index] for index in range(len(self)))

    def name(self, index: int) -> str:
        return self._find(index)[1]

    def source(self, index: int) -> str:
        """The path of an image."""
        folder, name = self._find(index)
        return _join(folder, name)

    def result(self, name: str) -> str:
        """The path of a result."""
        return _join(self.output, name)

    def _find(self, index: int) -> tuple[Path, str]:
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(index)
        group = bisect_right(self._ends, position)
        folder, names = self._groups[group]
        return folder, names[position - self._ends[group]]  # from the group's end backwards


def _join(folder: Path, name: str) -> str:
    """Without a `Path`, which would cost more than everything else that is done to a name."""
    if folder.name:
        return f"{folder}{os.sep}{name}"
    return f"{folder.root}{name}"  # `/` and `.`


def result_names(name: str, head: str) -> tuple[str, str]:
    """Mask and overlay of `scans/a.jpg`: `scans/a.png` and `scans/a.overlay.png`, or `scans/a.polyp.png` and so on."""
    stem = splitext(name)[0] + (f".{head}" if head else "")
    return f"{stem}.png", f"{stem}.overlay.png"


def plan_jobs(inputs: Sequence[Path], output: Path, heads: Sequence[str] = ("",), on_note: OnStep = ignore) -> Jobs:
    """`<stem>.png` and `<stem>.overlay.png` per image, or for named heads `<stem>.<head>.png` and
    `<stem>.<head>.overlay.png`; sub-folders of an input folder are kept below `output`, what lies in `output` is left
    out. `on_note`: is told of videos, which are left out, too.

    Raises InputError: as `images.list_images` does, a folder that lies in `output`, and as `check_results` does.
    """
    jobs = Jobs(output, heads, [names_of(given, output, on_note) for given in inputs])
    check_results(jobs)
    return jobs


def check_results(jobs: Jobs, mask_suffixes: Sequence[str] = (".png",)) -> None:
    """Raises InputError: a result, its mask with any of the suffixes, would overwrite an input or another result."""
    places = _Places()

    def sources() -> Iterator[str]:
        return (places.resolve(jobs.source(index)) for index in range(len(jobs)))

    def results() -> Iterator[tuple[int, str]]:
        for index in range(len(jobs)):
            for head in jobs.heads:
                mask, overlay = result_names(jobs.name(index), head)
                masks = [mask.removesuffix(".png") + suffix for suffix in mask_suffixes]
                yield from ((index, places.resolve(jobs.result(name))) for name in (*masks, overlay))

    refuse_collisions(sources, results, jobs.source)


def folder_within(place: object, given: str, output: str, separator: str = os.sep) -> str:
    """The name that the place of the results has below an input folder; empty: it lies elsewhere.

    `given` and `output`: both complete, without a separator at the end; `place`: the input, for messages.
    Raises InputError where the input is the place of the results, or lies below it.
    """
    if f"{given}{separator}".startswith(f"{output.rstrip(separator)}{separator}"):
        raise InputError(f"{place}: its results would lie among its images; choose another -o")
    below = f"{given.rstrip(separator)}{separator}"
    return output.removeprefix(below) if output.startswith(below) else ""


def names_of(given: Path, output: Path | None, on_note: OnStep = ignore) -> tuple[Path, list[str]]:
    """An input's folder and the names of its images. `output`: None where it is on no disk of this machine.

    Raises InputError as `plan_jobs` does.
    """
    if not is_folder(given):
        return given.parent, [given.name]
    within = "" if output is None else folder_within(given, str(given.resolve()), str(output.resolve()))
    return given, image_names(given, within, on_note)


class _Places:
    """Real paths of many files in few folders, whose own are looked up once."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def resolve(self, path: str) -> str:
        if os.path.islink(path):  # noqa: PTH114  (a Path for each of a million files would take longer than the rest)
            return str(Path(path).resolve())
        folder, _, name = path.rpartition(os.sep)
        real = self._folders.get(folder)
        if real is None:
            real = self._folders[folder] = str(Path(folder or (os.sep if path.startswith(os.sep) else ".")).resolve())
        return f"{real.rstrip(os.sep)}{os.sep}{name}"
