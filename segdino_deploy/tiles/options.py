"""How an image is cut into tiles, and whether it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from segdino_deploy.errors import InputError
from segdino_deploy.folders.options import batch_size_for
from segdino_deploy.manifest import ModelCard

MaskFormat = Literal["png", "tiff"]
MASK_FORMATS: tuple[MaskFormat, ...] = ("png", "tiff")

FAR_LARGER = 2  # times the model's size, in either direction: from there on tiles are worth their time
MIN_TILE = 16  # pixels: one patch of the backbone
# Times the model's size, in either direction: from there on a hint says that tiles exist. Training itself reduces
# photographs of some data sets twentyfold.
WORTH_A_HINT = 32


@dataclass(frozen=True)
class TileOptions:
    """Raises InputError for what cannot be."""

    tile_hw: tuple[int, int] | None = None  # source pixels; None: the model's size, so that nothing is resized
    overlap: int | None = None  # source pixels that neighbours share at least; None: a quarter of the shorter side
    batch_size: int | None = None  # tiles in one call of the engine; None: what the model was exported for
    mask_format: MaskFormat | None = None  # None: see `formats.default_format`

    def __post_init__(self) -> None:
        if self.tile_hw is not None and min(self.tile_hw) < MIN_TILE:
            raise InputError(f"--tile: {format_size(self.tile_hw)} is too small; at least {MIN_TILE} pixels")
        if self.tile_hw is not None:
            self._check_overlap(self.tile_hw)

    def size_for(self, card: ModelCard) -> tuple[int, int]:
        """Height and width of a tile, in source pixels."""
        return self.tile_hw or card.input_size

    def overlap_for(self, card: ModelCard) -> int:
        """Pixels that neighbours share at least. Raises InputError where the model's size is too small for it."""
        tile_hw = self.size_for(card)
        self._check_overlap(tile_hw)
        return min(tile_hw) // 4 if self.overlap is None else self.overlap

    def batch_for(self, card: ModelCard) -> int:
        """Tiles in one call of the engine. Raises InputError where it takes no such."""
        return batch_size_for(card, self.batch_size)

    def describe(self, card: ModelCard) -> dict[str, str]:
        """What the results depend on, by the names of the options."""
        return {
            "--mode": "tile",
            "--tile": format_size(self.size_for(card)),
            "--overlap": str(self.overlap_for(card)),
            "--mask-format": self.mask_format or "by size",
        }

    def _check_overlap(self, tile_hw: tuple[int, int]) -> None:
        """Beyond half of a tile, every pixel would be computed more than four times."""
        half = min(tile_hw) // 2
        if self.overlap is not None and not 0 <= self.overlap <= half:
            raise InputError(
                f"--overlap: {self.overlap} pixels; it must be 0 to {half}, half of the tile's {min(tile_hw)}"
            )


def wants_tiles(size_hw: tuple[int, int], card: ModelCard, options: TileOptions) -> bool:
    """Whether `--mode tile` tiles an image of this size: where it is larger than one tile, and far larger than the
    model's size, in either direction. Others are segmented whole, as without tiles.
    """
    return _exceeds(size_hw, options.size_for(card), 1) and _exceeds(size_hw, card.input_size, FAR_LARGER)


def hint(size_hw: tuple[int, int], card: ModelCard) -> str | None:
    """What to say of an image that is segmented whole although it is very much larger than the model; else None."""
    if not _exceeds(size_hw, card.input_size, WORTH_A_HINT):
        return None
    return (
        f"{format_size(size_hw)} pixels are reduced to the model's {format_size(card.input_size)}; "
        "where details matter that this loses, add --mode tile"
    )


def _exceeds(size_hw: tuple[int, int], limit_hw: tuple[int, int], times: int) -> bool:
    return any(length > times * limit for length, limit in zip(size_hw, limit_hw, strict=True))


def format_size(size_hw: tuple[int, int]) -> str:
    """`HxW`, as options are written."""
    return f"{size_hw[0]}x{size_hw[1]}"


def parse_tile(text: str) -> tuple[int, int]:
    """`512` or `384x512` (height x width) to (H, W). InputError otherwise."""
    match = re.fullmatch(r"(\d+)(?:[xX](\d+))?", text.strip())
    if match is None:
        raise InputError(f"--tile: {text!r} is not HxW or one number, such as 512 or 384x512")
    height = int(match.group(1))
    return height, int(match.group(2) or height)


def parse_mask_format(text: str) -> MaskFormat:
    """`png` or `tiff`. InputError otherwise."""
    for known in MASK_FORMATS:
        if text == known:
            return known
    raise InputError(f"--mask-format: {text!r} is none of {', '.join(MASK_FORMATS)}")
