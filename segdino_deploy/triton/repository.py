"""The model repository on disk: `<model>/config.pbtxt` and `<model>/<version>/`, as Triton loads it.

A new model appears whole, by one rename. A new version of a model that is there gets a folder of its own; then
`config.pbtxt`, which names exactly the versions that are served, is replaced: that is the moment of no return. Whoever
starts a server before it gets the old versions, after it the new ones, and a kill leaves one of the two; the next
write removes the rest. Every file is complete, in the staging folder, before it is moved.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segdino_deploy.atomic import disk_errors, fsync_directory, sha256_of, write_durably
from segdino_deploy.bundle import is_bundle
from segdino_deploy.canary import canary_for
from segdino_deploy.errors import InputError
from segdino_deploy.progress import OnStep, ignore
from segdino_deploy.triton.configuration import WARMUP_FOLDER, Configuration, configure, what_versions_share
from segdino_deploy.triton.existing import CONFIG, ExistingModel, numbered, read_existing
from segdino_deploy.triton.options import RepositoryOptions
from segdino_deploy.triton.plan import PlannedModel
from segdino_deploy.triton.record import ServedVersion, describe
from segdino_deploy.triton.staging import locked, note, staged, tidy_up


@dataclass(frozen=True)
class WrittenModel:
    """What now lies in the repository."""

    name: str
    path: Path
    version: int  # of this engine
    versions: tuple[int, ...]  # that are served, the newest one last
    served: ServedVersion
    is_new_version: bool  # False: this very engine was served already


@dataclass(frozen=True)
class _Change:
    """What is to be done for one model."""

    planned: PlannedModel
    existing: ExistingModel | None
    version: int
    versions: dict[int, ServedVersion]
    configuration: Configuration

    @property
    def is_new_version(self) -> bool:
        return self.existing is None or self.version not in self.existing.versions


def write_repository(
    repository: Path, models: Sequence[PlannedModel], options: RepositoryOptions, on_step: OnStep = ignore
) -> list[WrittenModel]:
    """Adds models to a repository, or versions to models that this program wrote there; other models stay as they are.

    Everything that can be refused is refused before the first file is written; then each model is written whole or not
    at all. Raises InputError: something else stands where a model would go, a version that cannot be served beside the
    ones that are kept, a repository that cannot be prepared; MissingComponent where tritonclient is not installed.
    """
    if is_bundle(repository):
        raise InputError(f"{repository}: is a bundle; choose another folder for the repository")
    with disk_errors(repository), locked(repository):
        tidy_up(repository)  # after a run that was killed
        changes = [_plan_change(repository, planned, options) for planned in models]
        return [_apply(repository, change, on_step) for change in changes]


def _plan_change(repository: Path, planned: PlannedModel, options: RepositoryOptions) -> _Change:
    folder = repository / planned.name
    existing = read_existing(folder)
    served = describe(planned.bundle, planned.engine, planned.serving.files, planned.serving.may_compute_in)
    before = existing.versions if existing is not None else {}
    newest = max(before, default=0)  # what clients get that name no version
    is_served = newest > 0 and _is_there(folder / str(newest), before[newest], served)
    version = newest if is_served else max(newest, *numbered(folder), 0) + 1
    others = [number for number in before if number != version and (folder / str(number)).is_dir()]
    kept = sorted(others, reverse=True)[: options.versions - 1]
    versions = {number: before[number] for number in sorted(kept)} | {version: served}
    engine = planned.bundle.manifest.engines[planned.engine]
    canary = canary_for(planned.bundle, engine.source)
    configuration = configure(planned.name, planned.serving, versions, canary.image, options)
    if kept and existing is not None:
        _check_side_by_side(planned, configuration, existing, kept)
    return _Change(planned, existing, version, versions, configuration)


def _is_there(folder: Path, version: ServedVersion, wanted: ServedVersion) -> bool:
    """Whether this very engine is served already, its files as they were written."""
    if (version.files, version.engine) != (wanted.files, wanted.engine):
        return False
    files = ((folder / name, record) for name, record in version.files.items())
    return all(path.is_file() and sha256_of(path) == record.sha256 for path, record in files)


def _check_side_by_side(
    planned: PlannedModel, configuration: Configuration, existing: ExistingModel, kept: Sequence[int]
) -> None:
    """InputError where the versions that are kept need another configuration: Triton has one for all of them."""
    if what_versions_share(configuration.message) != what_versions_share(existing.config):
        numbers = ", ".join(map(str, sorted(kept)))
        raise InputError(
            f"{planned.name}: {planned.engine} has other inputs, outputs, batch or backend than version {numbers}: "
            "they cannot be served side by side; --versions 1 replaces what is there, --name makes another model"
        )


def _apply(repository: Path, change: _Change, on_step: OnStep) -> WrittenModel:
    planned, folder = change.planned, repository / change.planned.name
    with staged(repository) as staging:
        prepared = staging / "model"
        prepared.mkdir()
        if change.is_new_version:
            _copy_files(planned, change.versions[change.version], prepared / str(change.version), on_step)
        for name, content in change.configuration.assets.items():
            write_durably(prepared / name, content)
        write_durably(prepared / CONFIG, change.configuration.text.encode())
        for path in [prepared, *prepared.rglob("*")]:
            if path.is_dir():
                fsync_directory(path)
        if change.existing is None:
            prepared.rename(folder)
            fsync_directory(repository)
        else:
            _change_model(folder, change, change.existing, staging, prepared)
    served = change.versions[change.version]
    return WrittenModel(planned.name, folder, change.version, tuple(change.versions), served, change.is_new_version)


def _change_model(folder: Path, change: _Change, existing: ExistingModel, staging: Path, prepared: Path) -> None:
    """First what the new configuration names, then the configuration, then away with what it does not name any more:
    its files here, its versions at the end of the staging.
    """
    added = change.versions.keys() - existing.versions.keys()
    dropped = existing.versions.keys() - change.versions.keys()
    if added or dropped:
        note(staging, folder.name, added | dropped)
    for name, content in change.configuration.assets.items():
        if not (folder / name).is_file() or (folder / name).read_bytes() != content:
            (folder / name).parent.mkdir(exist_ok=True)
            (prepared / name).replace(folder / name)
            fsync_directory((folder / name).parent)
    for version in added:
        (prepared / str(version)).rename(folder / str(version))
    fsync_directory(folder)
    if existing.text != change.configuration.text:  # else a server that polls would load it all again
        (prepared / CONFIG).replace(folder / CONFIG)
        fsync_directory(folder)
    for asset in [*folder.glob("labels-*.txt"), *(folder / WARMUP_FOLDER).glob("canary-*.bin")]:
        if asset.relative_to(folder).as_posix() not in change.configuration.assets:
            asset.unlink()


def _copy_files(planned: PlannedModel, served: ServedVersion, target: Path, on_step: OnStep) -> None:
    """Copies, for a repository travels without its bundles. InputError where a copy is not what the bundle says."""
    target.mkdir()
    for name, source in planned.serving.files.items():
        on_step(f"copying {planned.engine} to {planned.name}/{target.name}/{name}")
        shutil.copyfile(planned.bundle.file(source), target / name)
        with (target / name).open("rb") as file:
            os.fsync(file.fileno())
        if sha256_of(target / name) != served.files[name].sha256:
            raise InputError(f"{planned.bundle.path}: {source} was changed while it was copied; run again")
