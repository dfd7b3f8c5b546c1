"""Files that are either whole or absent: temporary name, fsync, rename."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segdino_deploy.errors import InputError, SegdinoDeployError, one_line

# Errors of a disk, a quota or a limit on files that is full.
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.\d+\.tmp")


def temporary_of(path: Path) -> Path:
    """The hidden name beside `path` under which this process writes it."""
    return path.with_name(temporary_name(path.name))


def temporary_name(name: str) -> str:
    """As `temporary_of`, of a name without its folder."""
    return f".{name}.{os.getpid()}.tmp"


def name_behind(temporary: str) -> str | None:
    """The name that a temporary file was to get, whichever process wrote it; None: it is no temporary file."""
    match = _TEMPORARY.fullmatch(temporary)
    return None if match is None else match["name"]


def write_durably(path: Path, data: bytes) -> None:
    """Writes `data` to `path` and forces it to disk. Not atomic by itself: see `write_atomically`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_atomically(path: Path, data: bytes) -> None:
    """Writes `path` so that a reader, or a kill at any moment, finds the old content or the new one, never a part."""
    temporary = temporary_of(path)
    with disk_errors(path):
        try:
            write_durably(temporary, data)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns the operating system's write errors into one line that names the place and the cure."""
    try:
        yield
    except OSError as error:
        if is_no_space(error):
            raise SegdinoDeployError(f"no space left to write {path}: free some and run again") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise InputError(f"no permission to write {path}: choose another place") from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
            raise InputError(f"cannot write {path}: a file stands where a folder is needed") from error
        if error.errno == errno.ENOENT:  # as of folders below /proc, that nobody can make
            raise InputError(f"cannot write {path} ({one_line(error)}): choose another place") from error
        raise


def is_no_space(error: BaseException) -> bool:
    """Whether a disk, a quota or a limit is full: by the error's number, or by its text, where a library gives that."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in NO_SPACE
    return any(os.strerror(code) in str(error) for code in NO_SPACE)


def fsync_directory(path: Path) -> None:
    """Makes renames inside `path` durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
