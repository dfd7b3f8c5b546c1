"""Bundles with engines that Triton can serve, and repositories of them."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tritonclient.grpc", reason="tritonclient[grpc,http] is not installed")
pytest.importorskip("tritonclient.http", reason="tritonclient[grpc,http] is not installed")

from segdino_deploy import Bundle, build_engine
from segdino_deploy.engines.build import BuildOptions
from segdino_deploy.manifest import Precision
from segdino_deploy.triton.options import ClientOptions, RepositoryOptions
from segdino_deploy.triton.plan import EngineChoice, plan_models
from segdino_deploy.triton.repository import WrittenModel, write_repository
from tests.triton.simulated_models import ModelRepository
from tests.triton.simulated_servers import SERVERS, Behaviour
from tests.triton.small_model import make_bundle, one_head, two_heads

ONNX = "onnxruntime-fp32"
Write = Callable[..., WrittenModel]


def add_engine(bundle: Bundle, backend: str, precision: Precision, inference_precision: str | None = None) -> None:
    build_engine(bundle, BuildOptions(precision, backend, lowering=("none",), inference_precision=inference_precision))


@contextmanager
def made_once(tmp_path_factory: pytest.TempPathFactory, name: str) -> Iterator[tuple[Path, bool]]:
    """A path that all processes of a test run share, and whether it must be made: exports are what takes the time."""
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "triton"
    (shared / name).parent.mkdir(parents=True, exist_ok=True)
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield shared / name, not (shared / name).exists()


@pytest.fixture(scope="session")
def real(exported: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported checkpoint, one class, one image at once; fp32 engines of both CPU backends. Never change it."""
    with made_once(tmp_path_factory, "real.segdino") as (path, is_new):
        if is_new:
            shutil.copytree(exported("v1_convt"), path)
            add_fp32_engines(path)
    return path


@pytest.fixture(scope="session")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One class, 64x96, one image at once; fp32 engines of both CPU backends. Never change it."""
    with made_once(tmp_path_factory, "fixed.segdino") as (path, is_new):
        if is_new:
            make_bundle(path, one_head())
            add_fp32_engines(path)
    return path


@pytest.fixture(scope="session")
def two_precisions(fixed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`fixed` with a second ONNX Runtime engine, in fp16. Never change it."""
    with made_once(tmp_path_factory, "two_precisions/fixed.segdino") as (path, is_new):
        if is_new:
            shutil.copytree(fixed, path)
            add_engine(Bundle.open(path), "onnxruntime", "fp16")
    return path


@pytest.fixture(scope="session")
def dynamic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two heads, of one and of three classes, 64x96, 2 to 4 images at once; fp32 engines of both CPU backends.

    Never change it.
    """
    with made_once(tmp_path_factory, "dynamic.segdino") as (path, is_new):
        if is_new:
            make_bundle(path, two_heads())
            add_fp32_engines(path)
    return path


def add_fp32_engines(path: Path) -> None:
    bundle = Bundle.open(path)
    add_engine(bundle, "openvino", "fp32", "f32")
    add_engine(bundle, "onnxruntime", "fp32")


@pytest.fixture
def own_copy(fixed: Path, tmp_path: Path) -> Bundle:
    """A private copy of `fixed`, free to be changed."""
    shutil.copytree(fixed, tmp_path / "fixed.segdino")
    return Bundle.open(tmp_path / "fixed.segdino")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes one engine of a bundle into the test's repository, `tmp_path / "repository"`."""

    def call(bundle: Path, engine: str, name: str | None = None, **options: object) -> WrittenModel:
        asked = RepositoryOptions(**options)  # type: ignore[arg-type]
        (planned,) = plan_models([bundle], EngineChoice(engine), asked, name)
        (written,) = write_repository(tmp_path / "repository", [planned], asked)
        return written

    return call


@dataclass
class Server:
    """A running one. `options`: for a client of it, which does not wait long."""

    url: str
    models: ModelRepository
    behaviour: Behaviour

    def options(self, **changes: Any) -> ClientOptions:
        return replace(ClientOptions(self.url, timeout_seconds=20, retry_seconds=0.01), **changes)


@contextmanager
def serving(protocol: str, repository: Path, tls: Any = None, port: int = 0) -> Iterator[Server]:
    behaviour = Behaviour()
    with SERVERS[protocol](repository, behaviour, tls, port) as (address, models):
        yield Server(f"{protocol}{'s' if tls else ''}://{address}", models, behaviour)


@pytest.fixture(params=["grpc", "http"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def repository(fixed: Path, dynamic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both bundles' ONNX Runtime engines. Never change it."""
    path, options = tmp_path_factory.mktemp("client") / "repository", RepositoryOptions()
    write_repository(path, plan_models([fixed, dynamic], EngineChoice(ONNX), options), options)
    return path


@pytest.fixture
def server(protocol: str, repository: Path) -> Iterator[Server]:
    with serving(protocol, repository) as running:
        yield running
