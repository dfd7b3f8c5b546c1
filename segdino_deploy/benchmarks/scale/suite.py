"""What `benchmarks/scale.toml` says."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from segdino_deploy.benchmarks.suites import CheckpointCase, with_distinct_names
from segdino_deploy.manifest import Precision
from segdino_deploy.recipes import Recipe, read_recipe


class Case(CheckpointCase):
    """One checkpoint at one size with one engine."""

    backend: str = "openvino"
    precision: Precision = "fp32"
    image_side: int | None = Field(None, ge=1)  # pixels of the large image, which is square; None: not measured
    overload_seconds: float | None = Field(None, gt=0)  # how long more is asked than can be answered; None: not at all


class Suite(Recipe):
    """All cases, measured in the same way."""

    cases: list[Case] = Field(min_length=1)
    rounds: int = Field(5, ge=1)
    round_seconds: float = Field(4, gt=0)  # of load, for the server and for the engine alone
    clients: list[int] = Field([1, 2, 8], min_length=1)

    _named = field_validator("cases")(with_distinct_names)


def read_suite(path: Path) -> Suite:
    """Reads and checks a suite. InputError names the file and the first wrong key."""
    return read_recipe(path, Suite)
