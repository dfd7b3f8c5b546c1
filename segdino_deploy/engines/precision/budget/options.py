"""What the user allows to be lost, and on which images that is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from segdino_deploy.errors import InputError


@dataclass(frozen=True)
class HeldOutOptions:
    """Where the held-out images are; as the options of `bench`."""

    data: Path
    image_dir: str = "image"
    mask_dir: str = "mask"
    foreground: tuple[int, ...] | None = None
    head: str | None = None


@dataclass(frozen=True)
class Budget:
    """`max_drop`: Dice points (0.01) where the held-out images have masks, else percent of changed pixels."""

    max_drop: float
    held_out: HeldOutOptions

    def __post_init__(self) -> None:
        """InputError where nothing can be lost by so much."""
        if not (math.isfinite(self.max_drop) and self.max_drop >= 0):
            raise InputError(f"--max-drop: {self.max_drop:g} is not a number of percent from 0 on")
