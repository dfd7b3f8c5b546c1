"""What `benchmarks/mri.toml` says."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from segdino_deploy.benchmarks.suites import CheckpointCase, with_distinct_names
from segdino_deploy.manifest import Precision
from segdino_deploy.recipes import Recipe, read_recipe


class Case(CheckpointCase):
    """One checkpoint at one size with its engines."""

    classes: list[str] | None = None
    engines: dict[str, list[Precision]] = Field(min_length=1)  # precisions by backend
    cpp: bool = False  # every engine once more, in the C++ library


class Suite(Recipe):
    """All cases, measured in the same way."""

    cases: list[Case] = Field(min_length=1)
    rounds: int = Field(30, ge=1)
    warmup: int = Field(3, ge=0)
    callers: list[int] = Field([1, 2], min_length=1)
    max_drop: float = Field(gt=0)  # Dice points that every engine may lose
    calibration_images: int = Field(64, ge=1)  # drawn from train/image

    _named = field_validator("cases")(with_distinct_names)


def read_suite(path: Path) -> Suite:
    """Reads and checks a suite. InputError names the file and the first wrong key."""
    return read_recipe(path, Suite)
