"""Engines on simulated GPUs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from segdino_deploy.manifest import Engine, ModelCard
from tests.cpp.tensorrt.simulation import Opened, Simulation, build_simulation, plan_of, record
from tests.engines.run.model import make_card

CARD = make_card(1, 4)


@pytest.fixture(scope="session")
def simulations() -> Callable[[str], Simulation]:
    """By backend: each is a library of its own."""
    made: dict[str, Simulation] = {}

    def get(backend: str) -> Simulation:
        if backend not in made:
            made[backend] = Simulation(build_simulation(backend))
        return made[backend]

    return get


@pytest.fixture
def backend() -> str:
    return "tensorrt"


@pytest.fixture
def world(backend: str, simulations: Callable[[str], Simulation]) -> Iterator[Simulation]:
    """In the end nothing may be left, and no rule may have been broken."""
    world = simulations(backend)
    world.reset()
    yield world
    assert world.violations == []
    assert world.is_empty


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A folder with a place for the engine."""
    folder = tmp_path / "my b.segdino"
    (folder / "engines").mkdir(parents=True)
    return folder


@pytest.fixture
def opened(backend: str, world: Simulation, bundle: Path) -> Iterator[Callable[..., Opened]]:
    """Opens a simulated engine, which is closed in the end. `plan`: the file's content."""
    kept: list[Opened] = []

    def get(card: ModelCard = CARD, engine: Engine | None = None, plan: str | bytes | None = None) -> Opened:
        engine = engine or record(backend)
        content = plan_of(card) if plan is None else plan
        (bundle / engine.file).write_bytes(content if isinstance(content, bytes) else content.encode())
        kept.append(world.open(card, engine, bundle))
        return kept[-1]

    yield get
    for engine in kept:
        engine.close()
