"""What the user allows to be lost, and on which images that is measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
