"""What `benchmarks/int8.toml` says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, field_validator

from segdino_deploy.recipes import Recipe, read_recipe


class Case(Recipe):
    """One checkpoint at one size."""

    name: str = Field(pattern=r"^[\w.-]+$")  # of its result file
    checkpoint: Path  # relative to --data
    size: int  # square, pixels
    foreground: list[int] | None = None  # of a one-class model: the mask values it segments; None: above 127
    max_drop: float = Field(gt=0)  # percent of pixels that the chosen plan may change on the images of the search
    calibration_images: int = Field(64, ge=1)  # for both sides, the same ones


class Suite(Recipe):
    """All cases, measured in the same way."""

    cases: list[Case] = Field(min_length=1)
    rounds: int = Field(30, ge=1)
    warmup: int = Field(3, ge=0)
    threads: int = Field(2, ge=1)

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
