"""What suites on a data set folder share: cases by name, and a look at the folder before anything long."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import Field

from segdino_deploy.errors import InputError
from segdino_deploy.recipes import Recipe


class CheckpointCase(Recipe):
    """One checkpoint at one size."""

    name: str = Field(pattern=r"^[\w.-]+$")  # of its result file
    checkpoint: Path  # relative to --data
    size: int  # square, pixels
    foreground: list[int] | None = None  # of a one-class model: the mask values it segments; None: above 127


AnyCase = TypeVar("AnyCase", bound=CheckpointCase)


def with_distinct_names(cases: list[AnyCase]) -> list[AnyCase]:
    """The cases themselves. ValueError, for pydantic, where two have one name."""
    names = [case.name for case in cases]
    if len(set(names)) != len(names):
        raise ValueError("two cases have one name")
    return cases


def choose_cases(cases: Sequence[AnyCase], only: str | None) -> list[AnyCase]:
    """All of them, or the one that is named. InputError names those that there are."""
    chosen = [case for case in cases if only in (None, case.name)]
    if not chosen:
        raise InputError(f"--only: {only} is none of {', '.join(case.name for case in cases)}")
    return chosen


def check_data(cases: Sequence[CheckpointCase], data: Path) -> None:
    """InputError where `data` lacks train/image, test/image, test/mask or a checkpoint."""
    for folder in ("train/image", "test/image", "test/mask"):
        if not (data / folder).is_dir():
            raise InputError(f"--data: {data} has no {folder}/")
    for case in cases:
        if not (data / case.checkpoint).is_file():
            raise InputError(f"--data: {data} has no {case.checkpoint}, the checkpoint of {case.name}")


def say(text: str) -> None:
    """A line of progress on stderr."""
    sys.stderr.write(text + "\n")
