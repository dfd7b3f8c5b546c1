"""Results take their names: all of a run together, and none in the place of a recording."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

IS_TAKEN = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR})  # where a folder was to be renamed


class Result(Protocol):
    """What is complete under a temporary name."""

    path: Path  # the name that was planned
    is_folder: bool

    def publish(self, path: Path, may_replace: bool) -> bool:
        """False where the name is taken. Raises SegdinoDeployError where it cannot be given."""

    def withdraw(self, path: Path) -> None:
        """Undoes a `publish` that has replaced nothing."""


def publish_together(results: Sequence[Result], may_replace: bool) -> None:
    """Where a name was taken since it was planned, all get the next number (`a.overlay.2.mp4`, `a.mask.2`), and their
    `path` says so. `may_replace`: files replace files of the planned names; folders never replace anything.
    """
    # a file that has replaced another one cannot be withdrawn: first what may be refused
    ordered = sorted(results, key=lambda result: not result.is_folder)
    number = 1
    while not _publish_all(named := [(result, _numbered(result, number)) for result in ordered], may_replace):
        number, may_replace = number + 1, False
    for result, path in named:
        result.path = path


def _publish_all(named: Sequence[tuple[Result, Path]], may_replace: bool) -> bool:
    """All, or none and False."""
    for done, (result, path) in enumerate(named):
        if not result.publish(path, may_replace):
            for earlier, published in named[:done]:
                earlier.withdraw(published)
            return False
    return True


def _numbered(result: Result, number: int) -> Path:
    path = result.path
    if number == 1:
        return path
    return path.with_name(f"{path.name}.{number}" if result.is_folder else f"{path.stem}.{number}{path.suffix}")


def move_folder(temporary: Path, path: Path) -> bool:
    """False where there is a file of that name, or a folder that is not empty."""
    try:
        temporary.rename(path)
    except OSError as error:
        if error.errno in IS_TAKEN:
            return False
        raise
    return True


def move_file(temporary: Path, path: Path) -> bool:
    """False where there is anything of that name: without a moment in which another program could come between."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # no hard links on this disk: an empty file takes the name first
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        temporary.replace(path)
    else:
        temporary.unlink()
    return True
