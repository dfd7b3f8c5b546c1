"""What `benchmarks/int8.toml` says."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from segdino_deploy.benchmarks.suites import CheckpointCase, with_distinct_names
from segdino_deploy.recipes import Recipe, read_recipe


class Case(CheckpointCase):
    """One checkpoint at one size."""

    max_drop: float = Field(gt=0)  # percent of pixels that the chosen plan may change on the images of the search
    calibration_images: int = Field(64, ge=1)  # for both sides, the same ones


class Suite(Recipe):
    """All cases, measured in the same way."""

    cases: list[Case] = Field(min_length=1)
    rounds: int = Field(30, ge=1)
    warmup: int = Field(3, ge=0)
    threads: int = Field(2, ge=1)

    _named = field_validator("cases")(with_distinct_names)


def read_suite(path: Path) -> Suite:
    """Reads and checks a suite. InputError names the file and the first wrong key."""
    return read_recipe(path, Suite)
