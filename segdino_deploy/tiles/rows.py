"""Images read once, from top to bottom, and the bands of rows that a row of tiles needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.folders.reading import reading
from segdino_deploy.progress import ignore
from segdino_deploy.tiles.grid import Grid

UInt8 = NDArray[np.uint8]


class RowSource(ABC):
    """An upright 8-bit RGB image whose rows come in order."""

    size_hw: tuple[int, int]

    @abstractmethod
    def read(self, count: int) -> UInt8:
        """The next `count` rows, uint8 `[count, W, 3]`. Raises InputError where the file is damaged."""


class GuardedRows(RowSource):
    """Of another source, whose errors become those of one image: see `folders.reading`."""

    def __init__(self, source: RowSource, path: Path) -> None:
        self.size_hw = source.size_hw
        self._source, self._path = source, path

    def read(self, count: int) -> UInt8:
        with reading(self._path, "save it as a tiled TIFF"):
            return self._source.read(count)


class ArrayRows(RowSource):
    """Of uint8 `[H, W, 3]` in memory, or mapped into it."""

    def __init__(self, image: UInt8) -> None:
        self.size_hw = (image.shape[0], image.shape[1])
        self._image = image
        self._top = 0

    def read(self, count: int) -> UInt8:
        rows = self._image[self._top : self._top + count]
        self._top += count
        return rows


def read_bands(source: RowSource, grid: Grid, on_rows: Callable[[UInt8], object] = ignore) -> Iterator[UInt8]:
    """The rows of each row of tiles, uint8 `[tile height, grid width, 3]`: one array, overwritten by the next.

    `on_rows` sees every row of the source once. Where the image is shorter than a tile it is continued by its mirror
    image: stretching it would change the scale that the other direction has.
    """
    height, width = source.size_hw
    tile_height = grid.rows.tile
    band = np.empty((tile_height, grid.columns.length, 3), np.uint8)
    end = 0  # rows read
    for start in grid.rows.starts:
        kept = end - start
        if kept:
            band[:kept] = band[-kept:].copy()
        rows = source.read(min(start + tile_height, height) - end)
        on_rows(rows)
        mirrored = ((0, 0), (0, grid.columns.length - width), (0, 0))
        band[kept : kept + len(rows)] = np.pad(rows, mirrored, "symmetric") if width < grid.columns.length else rows
        if height < tile_height:
            band[:] = np.pad(band[:height], ((0, tile_height - height), (0, 0), (0, 0)), "symmetric")
        end += len(rows)
        del rows  # which may be what keeps an image that was decoded whole
        yield band
