"""Where tiles lie, and how much each of them counts at each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Axis:
    """The tiles along one side of an image."""

    length: int  # pixels that they cover, at least one tile
    tile: int
    starts: tuple[int, ...]
    weights: tuple[Float, ...]  # of each tile, `[tile]`; those of all tiles sum to 1 at every pixel


@dataclass(frozen=True)
class Grid:
    """Rows and columns of tiles. Their weights at a pixel are the products of those of the two axes."""

    image_hw: tuple[int, int]
    rows: Axis
    columns: Axis

    @property
    def tile_hw(self) -> tuple[int, int]:
        return self.rows.tile, self.columns.tile

    @property
    def num_tiles(self) -> int:
        return len(self.rows.starts) * len(self.columns.starts)


def make_grid(image_hw: tuple[int, int], tile_hw: tuple[int, int], overlap: int) -> Grid:
    """As few tiles as cover the image with at least `overlap` pixels shared by neighbours, evenly spread.

    All lie inside the image, so that no pixel has to be made up. Where the image is shorter than one tile, the axis is
    one tile long: the rest is to be padded.
    """
    rows, columns = (
        _make_axis(max(length, tile), tile, overlap) for length, tile in zip(image_hw, tile_hw, strict=True)
    )
    return Grid(image_hw, rows, columns)


def _make_axis(length: int, tile: int, overlap: int) -> Axis:
    steps = -(-(length - tile) // (tile - overlap))
    # Two starts are at most `tile - overlap` apart: the exact distance is, and that is a whole number.
    starts = tuple(step * (length - tile) // steps for step in range(steps + 1)) if steps else (0,)
    return Axis(length, tile, starts, _weights(length, tile, starts))


def _weights(length: int, tile: int, starts: tuple[int, ...]) -> tuple[Float, ...]:
    """A Hann window for each tile, divided by the sum of all windows at each pixel, in float64.

    The window is taken at pixel centres, sin^2(pi (x + 1/2) / tile), where it is nowhere zero: what only one tile
    covers, such as the image's border, is that tile's result.
    """
    hann = np.sin(np.pi * (np.arange(tile) + 0.5) / tile) ** 2
    total = np.zeros(length)
    for start in starts:
        total[start : start + tile] += hann
    return tuple((hann / total[start : start + tile]).astype(np.float32) for start in starts)
