"""Where images come from and results go: a folder of this machine, or what stands for one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from segdino_deploy.atomic import write_atomically
from segdino_deploy.folders.jobs import Job


class Files(Protocol):
    """Called by several threads."""

    def place(self, job: Job) -> str:
        """Where the image is, for messages."""
        ...

    def local_copy(self, job: Job) -> AbstractContextManager[Path]:
        """The image as a file of this machine. Raises InputError where it cannot be had."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """A result, whole or not at all. OSError concerns this name, SegdinoDeployError all of them."""
        ...

    def remove(self, name: str) -> None:
        """A result that is there, or not. Raises OSError."""
        ...


class LocalFiles:
    """Images where they are; results below a folder."""

    def __init__(self, output: Path) -> None:
        self._output = output

    def place(self, job: Job) -> str:
        return str(job.image)

    @contextmanager
    def local_copy(self, job: Job) -> Iterator[Path]:
        yield job.image

    def write(self, name: str, content: bytes) -> None:
        write_atomically(self._output / name, content)

    def remove(self, name: str) -> None:
        (self._output / name).unlink(missing_ok=True)
