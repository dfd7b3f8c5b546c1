"""Which engine the actors of a run open: the same one everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segdino_deploy.bundle import MANIFEST, Bundle
from segdino_deploy.engines.run import bundle_of, open_engine
from segdino_deploy.errors import InputError, MissingComponent
from segdino_deploy.manifest import Engine


@dataclass(frozen=True)
class Chosen:
    """The engine that every actor opens."""

    bundle: Bundle
    engine: Engine

    @property
    def words(self) -> str:
        return f"{self.engine.backend} {self.engine.precision}"

    def read_files(self) -> dict[str, bytes]:
        """The whole bundle, for machines that do not have it."""
        names = [MANIFEST, *self.bundle.manifest.files]
        return {name: self.bundle.file(name).read_bytes() for name in names}


def choose_engine(path: Path, precision: str | None, backend: str | None) -> Chosen:
    """The engine that `open_engine` would open here; where this machine cannot run it, the one that was named.

    Raises InputError (no such engine), MissingComponent (this machine runs none, and none was named).
    """
    bundle = Bundle.open(path) if path.is_dir() else bundle_of(path)[0]
    try:
        with open_engine(path, precision=precision, backend=backend) as runner:
            backend, precision = runner.backend, runner.precision
    except MissingComponent:
        if path.is_dir() and not (backend and precision):
            raise
    engines = [
        engine
        for engine in bundle.manifest.engines.values()
        if (path.is_dir() or path.name == Path(engine.file).name)
        and backend in (None, engine.backend)
        and precision in (None, engine.precision)
    ]
    if len(engines) != 1:
        names = ", ".join(engine.file for engine in engines) or "none"
        raise InputError(f"{path}: which engine is every actor to open ({names})? name its file instead of the bundle")
    return Chosen(bundle, engines[0])
