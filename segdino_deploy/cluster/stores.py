"""Folders anywhere that fsspec reaches: object stores, network file systems, this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from segdino_deploy.atomic import disk_errors, name_behind, temporary_name, write_atomically
from segdino_deploy.errors import InputError, MissingComponent, SegdinoDeployError, one_line
from segdino_deploy.folders.jobs import Job, folder_within
from segdino_deploy.images import choose_images
from segdino_deploy.progress import OnStep, ignore
from segdino_deploy.requirements import require_module

LOCAL_PROTOCOLS = ("", "file", "local")
# Stores whose objects appear whole or not at all; elsewhere a temporary name is needed.
WHOLE_OBJECTS = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "r2"})


def protocol_of(place: str) -> str:
    """`s3` of `s3://bucket/folder`; empty: a path."""
    return place.partition("://")[0] if "://" in place else ""


def local_path(place: str) -> Path | None:
    """The path on this machine; None: it is elsewhere."""
    if protocol_of(place) not in LOCAL_PROTOCOLS:
        return None
    return Path(place.partition("://")[2] if "://" in place else place)


class Store:
    """One file system, by a place on it. Raises MissingComponent where its library is missing, InputError otherwise."""

    def __init__(self, place: str) -> None:
        fsspec: Any = require_module("fsspec", place, extra="ray")
        self.place, self.protocol = place.rstrip("/"), protocol_of(place)
        try:
            self._system, root = fsspec.core.url_to_fs(place)
            self.root = str(root).rstrip("/")
        except ImportError as error:  # fsspec names the package, such as s3fs
            raise MissingComponent(f"{place}: {one_line(error)}") from error
        except Exception as error:  # each file system has exceptions of its own
            raise InputError(f"{place}: cannot be opened ({one_line(error)})") from error

    def list_images(self, output: Store, on_note: OnStep = ignore) -> tuple[str, list[str]]:
        """The place of the folder of images, or of the one that this is, and their names below it, sorted.

        Raises InputError as `folders.jobs.plan_jobs` does of a folder; `output`: where the results go.
        """
        try:
            found = self._files()
        except Exception as error:
            raise InputError(f"{self.place}: cannot be listed ({one_line(error)})") from error
        if found == [self.root]:
            folder, _, name = self.place.rpartition("/")
            return folder, [name]
        if not found:
            raise InputError(f"{self.place}: no such file or folder, or one that holds no images")
        is_shared = self._system == output._system
        leave_out = folder_within(self.place, self.root, output.root, "/") if is_shared else ""
        return self.place, choose_images((self._name(path) for path in found), self.place, leave_out, on_note)

    def _files(self) -> list[str]:
        """Paths of all files, sorted. Raises whatever the file system does where a folder may not be listed."""
        if self.protocol in WHOLE_OBJECTS or not self._system.isdir(self.root):  # no folders, or a file, or nothing
            return sorted(self._system.find(self.root))
        files: list[str] = []
        waiting = [self.root]
        while waiting:  # folder by folder, for fsspec passes over those below that may not be listed
            folder = waiting.pop()
            for _, folders, names in self._system.walk(folder, maxdepth=1, on_error="raise"):
                files.extend(f"{folder}/{name}" for name in names)
                waiting.extend(f"{folder}/{name}" for name in folders)
        return sorted(files)

    def read(self, name: str) -> bytes:
        """Raises InputError where a file below the root cannot be read."""
        try:
            content: bytes = self._system.cat_file(self._path(name))
        except Exception as error:
            raise InputError(f"{self.place}/{name}: cannot be read ({one_line(error)})") from error
        return content

    def write(self, name: str, content: bytes) -> None:
        """A file below the root, whole or not at all. SegdinoDeployError where that fails."""
        path = self._path(name)
        try:
            if self.protocol in WHOLE_OBJECTS:
                self._system.pipe_file(path, content)
                return
            folder, _, file = path.rpartition("/")
            temporary = f"{folder}/{temporary_name(file)}"
            self._system.makedirs(folder, exist_ok=True)
            try:
                self._system.pipe_file(temporary, content)
                self._system.mv(temporary, path)
            except BaseException:
                with suppress(Exception):
                    self._system.rm_file(temporary)
                raise
        except Exception as error:
            raise SegdinoDeployError(
                f"{self.place}/{name}: cannot be written ({one_line(error)}): check the place and its rights"
            ) from error

    def remove(self, name: str) -> None:
        """A file below the root, if it is there. Raises OSError."""
        with suppress(FileNotFoundError):
            self._system.rm_file(self._path(name))

    def remove_leftovers(self, results: Iterable[str]) -> None:
        """Temporary files of `results`, by their names below the root, that killed workers have left.

        Raises whatever the file system does.
        """
        if self.protocol in WHOLE_OBJECTS or not self._system.exists(self.root):
            return
        left = {name: result for name in map(self._name, self._files()) if (result := _result_behind(name)) is not None}
        ours = set(left.values()).intersection(results) if left else set()
        for name in [name for name, result in left.items() if result in ours]:
            self.remove(name)

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def _name(self, path: str) -> str:
        """Below the root."""
        return path.removeprefix(f"{self.root}/")


def _result_behind(name: str) -> str | None:
    """The result, by its name below the root, that a temporary file was to become; None: it is none."""
    folder, separator, file = name.rpartition("/")
    result = name_behind(file)
    return None if result is None else f"{folder}{separator}{result}"


class StoreFiles:
    """Images of one job list from their stores, results to another: the `Files` of a pipeline that runs anywhere."""

    def __init__(self, sources: dict[str, str], output: str) -> None:
        """`sources`: place by the job's name. `output`: the place below which results go."""
        self._sources = sources
        self._output_path = local_path(output)
        self._output = None if self._output_path is not None else Store(output)

    def place(self, job: Job) -> str:
        return self._sources[job.name]

    @contextmanager
    def local_copy(self, job: Job) -> Iterator[Path]:
        source = self._sources[job.name]
        path = local_path(source)
        if path is not None:
            yield path
            return
        folder, _, name = source.rpartition("/")
        content = Store(folder).read(name)
        with ExitStack() as stack:
            with disk_errors(Path(tempfile.gettempdir())):
                directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="segdino-"))
                copy = Path(directory) / f"image{PurePosixPath(name).suffix}"
                copy.write_bytes(content)
            yield copy

    def write(self, name: str, content: bytes) -> None:
        if self._output_path is not None:
            write_atomically(self._output_path / name, content)
        elif self._output is not None:
            self._output.write(name, content)

    def remove(self, name: str) -> None:
        if self._output_path is not None:
            (self._output_path / name).unlink(missing_ok=True)
        elif self._output is not None:
            self._output.remove(name)


def check_place(place: str) -> None:
    """InputError where a place's credentials or options stand in its URL: they would get into tables and messages."""
    parts = urlsplit(place)
    if parts.password:
        raise InputError(f"{parts.scheme}://...: holds a password; give it to the store's own settings instead")
