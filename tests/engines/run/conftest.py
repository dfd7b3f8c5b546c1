"""Runners of the simulated GPU, and of the real one where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from segdino_deploy.engines.run import tensorrt as runner_module
from segdino_deploy.engines.run.tensorrt import TensorRtRunner
from segdino_deploy.engines.tensorrt.flavours import FLAVOURS
from segdino_deploy.errors import MissingComponent, SegdinoDeployError
from segdino_deploy.gpu import Gpu
from segdino_deploy.manifest import Engine, ModelCard
from tests.engines.run.real_gpu import record, require_installed
from tests.engines.run.simulation import SimulatedEngine, SimulatedGpu
from tests.engines.run.tiny_engine import build

ENGINE = Engine(file="engines/x.plan", backend="tensorrt", precision="fp16", source="model.fp16.onnx", built_with={})


class Loaded:
    """What `load_engine` gives, of the simulated engine."""

    flavour = FLAVOURS["tensorrt"]
    api = None
    messages = SimpleNamespace(listen=lambda: None)

    def __init__(self, engine: SimulatedEngine) -> None:
        self.engine: SimulatedEngine | None = engine

    def failure(self, what: str) -> SegdinoDeployError:
        return SegdinoDeployError(f"TensorRT 10.3 {what}: out of memory")

    def close(self) -> None:
        self.engine = None


@pytest.fixture
def gpu() -> SimulatedGpu:
    return SimulatedGpu()


@pytest.fixture
def open_runner(gpu: SimulatedGpu, monkeypatch: pytest.MonkeyPatch) -> Callable[..., TensorRtRunner]:
    """Opens the simulated engine; `available`: the contexts that it can give."""
    machine = Gpu("NVIDIA L4", "8.9", "13.0", 1, 24 * 2**30)
    monkeypatch.setattr(runner_module, "require_runnable", lambda *_: machine)
    monkeypatch.setattr(runner_module, "open_device_memory", lambda: gpu)

    def opened(card: ModelCard, contexts: int = 1, available: int = 100) -> TensorRtRunner:
        loaded = Loaded(SimulatedEngine(gpu, card, available))
        monkeypatch.setattr(runner_module, "load_engine", lambda *_: loaded)
        return TensorRtRunner(card, ENGINE, Path("engines/x.plan"), contexts=contexts)

    return opened


@pytest.fixture(params=list(FLAVOURS))
def backend(request: pytest.FixtureRequest) -> str:
    """Each of the two products that is installed."""
    require_installed(FLAVOURS[request.param])
    return FLAVOURS[request.param].name


@pytest.fixture
def open_tiny(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., TensorRtRunner]]:
    """Opens the tiny engine on the real GPU; one that the product does not take is a visible skip."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    opened: list[TensorRtRunner] = []

    def get(card: ModelCard, card_of_engine: ModelCard | None = None, **options: Any) -> TensorRtRunner:
        path = tmp_path / f"tiny.{FLAVOURS[backend].suffix}"
        path.write_bytes(build(backend, card_of_engine or card))
        try:
            opened.append(TensorRtRunner(card, record(backend), path, **options))
        except MissingComponent as error:
            pytest.skip(str(error))
        return opened[-1]

    yield get
    for runner in opened:
        runner.close()
