"""What workers find: this package, and a plugin of fsspec."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from segdino_deploy.cluster.options import RayOptions
from tests.cli.conftest import cli

__all__ = ["cli"]


@dataclass(frozen=True)
class Places:
    killed: Path  # is written when the brittle store has killed a worker


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    """Installs the store as its users would: a package with an entry point, on the workers' path and on ours."""
    site = tmp_path_factory.mktemp("site")
    info = site / "brittle_store-1.0.dist-info"
    info.mkdir()
    shutil.copy(Path(__file__).parent / "brittle_store.py", site)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brittle-store\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fsspec.specs]\nbrittle = brittle_store:BrittleFileSystem\n")
    repository = Path(__file__).parents[2]
    paths = [str(site), str(repository), *filter(None, [os.environ.get("PYTHONPATH")])]
    killed = tmp_path_factory.mktemp("killed") / "pid"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", os.pathsep.join(paths))
        patched.setenv("BRITTLE_STORE_KILLED", str(killed))
        fsspec = pytest.importorskip("fsspec")
        from tests.cluster.brittle_store import BrittleFileSystem

        fsspec.register_implementation("brittle", BrittleFileSystem, clobber=True)  # ours has read its entry points
        yield Places(killed)


@pytest.fixture(scope="module")
def two_workers(places: Places) -> Iterator[Places]:
    """A Ray that several tests share: runs use it and leave it as it is."""
    import ray

    from segdino_deploy.cluster.session import ray_session

    with ray_session(RayOptions("local", actors=2)):
        assert ray.is_initialized()
        yield places
