"""Changing a repository: one writer at a time, who prepares everything in a hidden folder beside it.

Beside it, not in it: Triton takes every folder in a repository for a model, also hidden ones. A journal in that folder
says which version folders are moved into a model or out of it. Those of them that the model's configuration does not
name are what an interrupted run left: they go, at its end or when the next run begins. A folder that no journal names
is somebody else's and stays.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from segdino_deploy.atomic import fsync_directory, write_atomically
from segdino_deploy.errors import InputError
from segdino_deploy.manifest import Record
from segdino_deploy.triton.existing import read_existing

JOURNAL = "journal.json"


class Journal(Record):
    """The versions of one model that come or go."""

    model: str
    versions: list[int]


@contextmanager
def locked(repository: Path) -> Iterator[None]:
    """The only writer of a repository, which is made where it is not there, and taken away again where it was made
    here and nothing was written. The lock is on the folder itself, so that no file of ours lies among the models.
    """
    descriptor, is_new = _lock(repository)
    try:
        yield
    finally:
        try:
            if is_new:
                with suppress(OSError):  # only an empty one goes
                    repository.rmdir()
        finally:
            os.close(descriptor)  # last: whoever waits for the lock then sees that the folder has gone


def _lock(repository: Path) -> tuple[int, bool]:
    """The descriptor that holds the lock, and whether the folder was made here."""
    while True:
        try:
            repository.mkdir(parents=True)
            is_new = True
        except FileExistsError:
            is_new = False
            if repository.is_symlink() and not repository.exists():
                raise
        with suppress(FileNotFoundError):  # taken away since by whoever made it: once more
            descriptor = os.open(repository, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if os.path.samestat(os.fstat(descriptor), repository.stat()):
                    return descriptor, is_new
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)


@contextmanager
def staged(repository: Path) -> Iterator[Path]:
    """An empty folder on the repository's file system, which must be locked. What is left in it goes at the end."""
    staging = _staging_of(repository)
    cure = f"choose a folder one level deeper, such as {repository / 'models'}"
    try:
        staging.mkdir()
    except PermissionError as error:
        raise InputError(f"{repository}: no permission to prepare files beside it; {cure}") from error
    try:
        if staging.stat().st_dev != repository.resolve().stat().st_dev:
            raise InputError(f"{repository}: is a file system of its own, so nothing can be moved into it; {cure}")
        yield staging
    finally:
        tidy_up(repository)


def note(staging: Path, model: str, versions: Iterable[int]) -> None:
    """Writes down, before the first of them is moved, which versions of `model` come or go."""
    journal = Journal(model=model, versions=sorted(versions))
    write_atomically(staging / JOURNAL, journal.model_dump_json().encode())
    fsync_directory(staging)
    fsync_directory(staging.parent)


def tidy_up(repository: Path) -> None:
    """Removes the staging folder of a repository that is locked, and what its journal says was not finished."""
    staging = _staging_of(repository)
    journal = _read_journal(staging)
    if journal is not None:
        _move_out(repository / journal.model, journal.versions, staging)
    shutil.rmtree(staging, ignore_errors=True)


def _read_journal(staging: Path) -> Journal | None:
    """None where nothing was moved, or where a disk lost what was written: then nothing is known to be ours."""
    with suppress(FileNotFoundError, ValidationError):
        return Journal.model_validate_json((staging / JOURNAL).read_bytes())
    return None


def _move_out(folder: Path, versions: Iterable[int], staging: Path) -> None:
    """Of `versions`, those that the model's configuration does not name."""
    try:
        existing = read_existing(folder)
    except InputError:  # another program's by now
        return
    for version in versions:
        left = folder / str(version)
        if existing is not None and version not in existing.versions and left.is_dir():
            left.rename(staging / f"dropped-{version}")  # in one step: a kill leaves no half of it
            fsync_directory(folder)


def _staging_of(repository: Path) -> Path:
    home = repository.resolve()
    return home.parent / f".{home.name}.staging"
