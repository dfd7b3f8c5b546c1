"""Temporary files of runs that were killed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from segdino_deploy.atomic import name_behind
from segdino_deploy.folders.jobs import Jobs


def remove_leftovers(jobs: Jobs, others: Sequence[Path] = ()) -> int:
    """Removes temporary files of the jobs' results and of `others`, and returns how many there were.

    Only call it while no other run writes there: the journal's lock says so.
    """
    found = {
        file: file.with_name(name)
        for file in (*_files_below(jobs.output), *(file for other in others for file in _files_of(other.parent)))
        if (name := name_behind(file.name)) is not None
    }
    suspects = set(found.values())
    ours = set(others) if suspects else set()
    for job in jobs if suspects else ():
        for target in job.targets:
            ours |= suspects & {target.mask, target.mask.with_suffix(".tif"), target.overlay}
    leftovers = [file for file, result in found.items() if result in ours]
    for file in leftovers:
        file.unlink(missing_ok=True)
    return len(leftovers)


def _files_below(folder: Path) -> Iterator[Path]:
    """Hidden ones: no others are temporary."""
    for place, _, names in os.walk(folder):
        yield from (Path(place) / name for name in names if name.startswith("."))


def _files_of(folder: Path) -> Iterator[Path]:
    return folder.glob(".*")
