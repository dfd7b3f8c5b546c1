"""What `benchmarks/graph.toml` says."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from segdino_deploy.manifest import Precision
from segdino_deploy.recipes import Recipe, read_recipe

FamilyName = Literal["v1_paper", "v1_convt", "fine_grained", "v2_initial", "v2"]


class EngineSpec(Recipe):
    """One engine to build of both exports."""

    backend: str
    precision: Precision
    inference_precision: str | None = None  # OpenVINO: what to compute in; None: measured while building

    @property
    def name(self) -> str:
        return f"{self.backend}-{self.precision}"


class Suite(Recipe):
    """Every family at every size, with every engine."""

    families: list[FamilyName]
    sizes: list[int]  # square, pixels
    engines: list[EngineSpec]
    rounds: int = 15
    warmup: int = 2
    threads: int = 2
    seed: int = 0


def read_suite(path: Path) -> Suite:
    """Reads and checks a suite. InputError names the file and the first wrong key."""
    return read_recipe(path, Suite)
