"""The weighted sum of overlapping tiles, of as many rows as are not finished."""

from __future__ import annotations

import numpy as np

from segdino_deploy.tiles.grid import Float, Grid


class Blender:
    """Takes the tiles of one head row by row and gives back the rows that no later tile reaches.

    Holds float32 `[C, tile height, grid width]`, whatever the image's height.
    """

    def __init__(self, grid: Grid, num_classes: int) -> None:
        self._grid = grid
        self._sums = np.zeros((num_classes, grid.rows.tile, grid.columns.length), np.float32)

    def add(self, row: int, column: int, probability: Float) -> None:
        """`probability`: `[C, tile height, tile width]` of the tile in that row and column of the grid."""
        columns = self._grid.columns
        left = columns.starts[column]
        weights = self._grid.rows.weights[row][:, None] * columns.weights[column]  # [tile height, tile width]
        self._sums[:, :, left : left + columns.tile] += probability * weights

    def finish_row(self, row: int) -> Float:
        """Probabilities `[C, rows, W]` from the top of this row of tiles to the top of the next, or to the image's end.

        Call once all tiles of the row are added.
        """
        rows, (height, width) = self._grid.rows, self._grid.image_hw
        is_last = row + 1 == len(rows.starts)
        count = (height if is_last else rows.starts[row + 1]) - rows.starts[row]
        finished = self._sums[:, :count, :width].copy()
        unfinished = max(0, rows.tile - count)
        self._sums[:, :unfinished] = self._sums[:, count:].copy()
        self._sums[:, unfinished:] = 0
        return finished
