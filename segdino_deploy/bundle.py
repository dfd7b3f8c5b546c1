"""The bundle: one directory with the models, the engines, the canary, the reports and a manifest that hashes them.

Every change is a transaction. New files and the new manifest are written to a staging folder inside the bundle and
forced to disk; renaming that folder to `.commit` is the moment of no return; then the files move into place, the
manifest last. A kill before the rename leaves the old bundle, a kill after it is finished by the next opening.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from segdino_deploy.atomic import disk_errors, fsync_directory, sha256_of, write_durably
from segdino_deploy.errors import InputError
from segdino_deploy.manifest import SCHEMA_VERSION, Engine, FileRecord, Manifest

MANIFEST = "manifest.json"
CANARY = "canary.npz"
COMMIT = ".commit"
STAGING = ".staging"
LOCK = ".lock"
RETRIES = 20  # of opening a bundle that is being written

Content = bytes | Path  # a file's bytes, or a file to take over (moved where possible)


class Bundle:
    """An opened bundle: its path and its verified manifest."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(cls, path: str | Path, rebuilt: Collection[str] = ()) -> Bundle:
        """Opens and verifies a bundle. `rebuilt`: engines that are about to be built, whose files may be damaged.

        Raises InputError: not a bundle, another schema, or a file that is missing or differs from its hash (by name).
        """
        path = Path(path)
        if not path.is_dir():
            if path.exists():
                raise InputError(
                    f"{path}: a file, not a bundle: name the folder with {MANIFEST} in it, and an engine by name"
                )
            raise InputError(f"{path}: no such bundle (make one: segdino-deploy export CHECKPOINT -o {path})")
        if (path / COMMIT / MANIFEST).is_file():
            with disk_errors(path), _locked(path):
                pass  # taking the lock finishes the commit
        bundle = cls(path, _read_manifest(path / MANIFEST))
        for attempt in range(RETRIES):
            try:
                bundle.verify_files(rebuilt)
                break
            except InputError:  # somebody may have committed between our two reads: then the manifest is another one
                time.sleep(0.05 * attempt)
                newer = _read_manifest(path / MANIFEST)
                if newer == bundle.manifest and not (path / COMMIT).exists():
                    raise
                bundle = cls(path, newer)
        else:
            bundle.verify_files(rebuilt)
        return bundle

    @classmethod
    def create(cls, path: str | Path, manifest: Manifest, files: Mapping[str, Content]) -> Bundle:
        """Makes a bundle, or replaces one wholly in one transaction. InputError where something else stands there."""
        path = Path(path)
        check_target(path)
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
            with _locked(path):
                try:
                    _stage_and_commit(path, manifest.model_copy(update={"files": {}}), files)
                finally:
                    if not is_bundle(path):  # a first export that failed leaves nothing behind
                        shutil.rmtree(path)
        return cls.open(path)

    def update(self, files: Mapping[str, Content], change: Callable[[Manifest], Manifest]) -> None:
        """Adds or replaces files and the manifest in one transaction; `change` sees the manifest as it is on disk."""
        with disk_errors(self.path), _locked(self.path):
            current = _read_manifest(self.path / MANIFEST)
            _stage_and_commit(self.path, change(current), files)
        self.manifest = _read_manifest(self.path / MANIFEST)

    def file(self, name: str) -> Path:
        """Absolute path of a file of the bundle."""
        return self.path / name

    def verify_files(self, rebuilt: Collection[str] = ()) -> None:
        """Compares every file with its size and sha256, but for those of engines that are about to be built anew.

        InputError names the first that differs, and the command that makes it again.
        """
        engines = self.manifest.engines
        passed_over = {file for name in rebuilt if name in engines for file in engines[name].files}
        for name in [file for engine in engines.values() for file in engine.read_files]:
            if name not in self.manifest.files and name not in passed_over:
                cure = self._how_to_rebuild(name)
                raise InputError(f"{self.path}: {name} has no sha256 in the manifest; copy the bundle again{cure}")
        for name in self.manifest.files:
            wrong = "" if name in passed_over else self._what_is_wrong_with(name)
            if wrong:
                raise InputError(f"{self.path}: {name} {wrong}; copy the bundle again{self._how_to_rebuild(name)}")

    def is_intact(self, engine: Engine) -> bool:
        """Whether the engine's files are those that were written."""
        return not any(self._what_is_wrong_with(name) for name in engine.files if name in self.manifest.files)

    def _what_is_wrong_with(self, name: str) -> str:
        """In words; empty where a file is as it was written."""
        file, record = self.path / name, self.manifest.files[name]
        if not file.is_file():
            return "is missing"
        if file.stat().st_size != record.size_bytes:
            return "was changed since it was written (its size differs)"
        if sha256_of(file) != record.sha256:
            return "was changed since it was written (its sha256 differs)"
        return ""

    def _how_to_rebuild(self, name: str) -> str:
        """The command that makes an engine's file again; of other files, of which engines are built, the export."""
        from segdino_deploy.engines.tensorrt.versions import rebuild_command

        engine = next((engine for engine in self.manifest.engines.values() if name in engine.files), None)
        if engine is None:
            return ", or export it anew"
        return f", or build the engine again: {rebuild_command(engine, self.path, same_targets=True)}"


def is_bundle(path: Path) -> bool:
    return (path / MANIFEST).is_file() or (path / COMMIT / MANIFEST).is_file()


def check_target(path: Path) -> None:
    """InputError where `path` is neither free nor a bundle: an export never overwrites anything else."""
    if (path / MANIFEST).is_file():
        _read_manifest(path / MANIFEST)  # another program's manifest.json, a damaged or a newer one: hands off
    elif path.exists() and not is_bundle(path):
        leftovers = {LOCK, STAGING}  # of a first export that was killed
        if not path.is_dir() or {entry.name for entry in path.iterdir()} - leftovers:
            raise InputError(f"{path}: exists and is not a bundle; choose another -o, or remove it")


def find_bundle(directory: Path) -> Path:
    """The only bundle in `directory`. InputError where there is none or more than one."""
    found = sorted(entry for entry in directory.iterdir() if entry.is_dir() and is_bundle(entry))
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError(f"no bundle in {directory}: name one (make one: segdino-deploy export CHECKPOINT)")
    names = ", ".join(entry.name for entry in found)
    raise InputError(f"{len(found)} bundles in {directory} ({names}): name one")


def _read_manifest(path: Path) -> Manifest:
    try:
        content = json.loads(path.read_bytes())
        version = content.get("schema_version")
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise InputError(f"{path.parent}: written by a newer segdino-deploy (schema {version}): update this one")
        is_ours = "tool_version" in content  # a stranger's manifest must not be called outdated, nor be removed
        if is_ours and isinstance(version, int) and version < SCHEMA_VERSION:
            raise InputError(
                f"{path.parent}: written by an older segdino-deploy (schema {version}): remove it and export again"
            )
        return Manifest.model_validate(content)
    except FileNotFoundError as error:
        raise InputError(f"{path.parent}: not a bundle (no {MANIFEST})") from error
    except (ValidationError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: damaged, not a manifest of this version; copy the bundle again, or remove it"
        ) from error


def _stage_and_commit(path: Path, manifest: Manifest, files: Mapping[str, Content]) -> None:
    staging = path / STAGING
    shutil.rmtree(staging, ignore_errors=True)  # left by a kill; the lock says nobody else is writing
    try:
        staging.mkdir()
        records = dict(manifest.files)
        for name, content in files.items():
            target = staging / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                _take_over(content, target)
            else:
                write_durably(target, content)
            records[name] = FileRecord(sha256=sha256_of(target), size_bytes=target.stat().st_size)
        complete = manifest.model_copy(update={"files": dict(sorted(records.items()))})
        text = json.dumps(complete.model_dump(mode="json"), indent=1) + "\n"
        write_durably(staging / MANIFEST, text.encode())
        fsync_directory(staging)
        staging.rename(path / COMMIT)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    fsync_directory(path)
    _finish_commit(path)


def _take_over(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _finish_commit(path: Path) -> None:
    """Moves a committed transaction into place; may be called again after a kill in its middle."""
    commit = path / COMMIT
    try:
        old_files = set(_read_manifest(path / MANIFEST).files)
    except InputError:  # a first export, or one over a damaged bundle
        old_files = set()
    new_files = set(_read_manifest(commit / MANIFEST).files)
    for file in sorted(entry for entry in commit.rglob("*") if entry.is_file() and entry.name != MANIFEST):
        target = path / file.relative_to(commit)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)
    (commit / MANIFEST).replace(path / MANIFEST)
    fsync_directory(path)
    shutil.rmtree(commit)
    for name in old_files - new_files:
        (path / name).unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time; finishes what a killed writer had committed. The system frees the lock with the process."""
    with (path / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if (path / COMMIT / MANIFEST).is_file():
            _finish_commit(path)
        shutil.rmtree(path / COMMIT, ignore_errors=True)  # killed after the manifest had moved: all is in place
        yield
