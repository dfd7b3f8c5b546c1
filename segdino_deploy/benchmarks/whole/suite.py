"""What `benchmarks/mri.toml` says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, field_validator

from segdino_deploy.manifest import Precision
from segdino_deploy.recipes import Recipe, read_recipe


class Case(Recipe):
    """One checkpoint at one size with its engines."""

    name: str = Field(pattern=r"^[\w.-]+$")  # of its result file
    checkpoint: Path  # relative to --data
    size: int  # square, pixels
    classes: list[str] | None = None
    foreground: list[int] | None = None  # of a one-class model: the mask values it segments; None: above 127
    engines: dict[str, list[Precision]] = Field(min_length=1)  # precisions by backend


class Suite(Recipe):
    """All cases, measured in the same way."""

    cases: list[Case] = Field(min_length=1)
    rounds: int = Field(30, ge=1)
    warmup: int = Field(3, ge=0)
    callers: list[int] = Field([1, 2], min_length=1)
    max_drop: float = Field(gt=0)  # Dice points that every engine may lose
    calibration_images: int = Field(64, ge=1)  # drawn from train/image

    @field_validator("cases")
    @classmethod
    def _names_can_be_told_apart(cls, cases: Sequence[Case]) -> Sequence[Case]:
        names = [case.name for case in cases]
        if len(set(names)) != len(names):
            raise ValueError("two cases have one name")
        return cases


def read_suite(path: Path) -> Suite:
    """Reads and checks a suite. InputError names the file and the first wrong key."""
    return read_recipe(path, Suite)
