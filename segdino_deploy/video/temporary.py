"""Where a result is written until it is complete: a hidden folder of the run's own, beside the result."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from segdino_deploy.atomic import disk_errors, name_behind

QUIET_SECONDS = 600.0  # without a change: of some shared disks the locks of other machines do not show


class TemporaryFolder:
    """`.<name>.<number>.tmp`, which no other run has. What killed runs have left for the same name is removed.

    A lock on the folder says that its run goes on; the system drops it with the process. Not on the video itself: of
    some network disks that would keep the encoder out. Disks without locks work, but nothing is removed there.
    Raises InputError (no permission), SegdinoDeployError (no space).
    """

    def __init__(self, result: Path) -> None:
        with disk_errors(result):
            result.parent.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(result)
            self.path, lock = _make(result)
        self._lock: int | None = lock

    def remove(self) -> None:
        """With everything inside; a second time does nothing."""
        if self._lock is None:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)
        self._lock = None


def _make(result: Path) -> tuple[Path, int]:
    number = os.getpid()
    while True:
        folder = result.with_name(f".{result.name}.{number}.tmp")
        number += 1
        try:
            folder.mkdir()
        except FileExistsError:  # of another thread, or of a machine that shares this disk
            continue
        lock = _lock(folder)
        if lock is not None:
            return folder, lock


def _lock(folder: Path) -> int | None:
    """None where it was taken for a leftover before it was locked."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    with suppress(OSError):  # no locks on this disk
        fcntl.flock(lock, fcntl.LOCK_EX)
    with suppress(FileNotFoundError):
        if os.path.samestat(folder.stat(), os.fstat(lock)):
            return lock
    os.close(lock)
    return None


def _remove_leftovers(result: Path) -> None:
    """Of killed runs. What cannot be seen or removed stays."""
    with suppress(OSError):
        for folder in [entry for entry in result.parent.iterdir() if name_behind(entry.name) == result.name]:
            with suppress(OSError):  # its run goes on, it is gone, or there are no locks here
                _remove_unless_locked(folder)


def _remove_unless_locked(folder: Path) -> None:
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        changed = max(entry.stat().st_mtime for entry in (folder, *folder.iterdir()))
        if time.time() - changed > QUIET_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
