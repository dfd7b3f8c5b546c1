"""The running sum against a sum over the whole image."""

from __future__ import annotations

import numpy as np
import pytest

from segdino_deploy.tiles.blend import Blender
from segdino_deploy.tiles.grid import Grid, make_grid


def blend(grid: Grid, tiles: dict[tuple[int, int], np.ndarray]) -> np.ndarray:
    blender = Blender(grid, next(iter(tiles.values())).shape[0])
    parts = []
    for row in range(len(grid.rows.starts)):
        for column in range(len(grid.columns.starts)):
            blender.add(row, column, tiles[row, column])
        parts.append(blender.finish_row(row))
    return np.concatenate(parts, axis=1)


def places(grid: Grid) -> list[tuple[int, int]]:
    return [(row, column) for row in range(len(grid.rows.starts)) for column in range(len(grid.columns.starts))]


@pytest.mark.parametrize("overlap", [0, 5, 8, 16])
@pytest.mark.parametrize("image_hw", [(32, 48), (33, 49), (100, 131), (20, 200), (200, 20), (9, 7)])
def test_it_is_the_sum_of_windowed_tiles_over_the_sum_of_windows(image_hw: tuple[int, int], overlap: int) -> None:
    grid = make_grid(image_hw, (32, 48), overlap)
    rng = np.random.default_rng(0)
    tiles = {place: rng.random((2, 32, 48), np.float32) for place in places(grid)}
    window = np.outer(*(np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2 for side in (32, 48)))
    sums = np.zeros((2, grid.rows.length, grid.columns.length))
    windows = np.zeros(sums.shape[1:])
    for (row, column), tile in tiles.items():
        top, left = grid.rows.starts[row], grid.columns.starts[column]
        sums[:, top : top + 32, left : left + 48] += tile * window
        windows[top : top + 32, left : left + 48] += window

    blended = blend(grid, tiles)

    assert blended.shape == (2, *image_hw)
    np.testing.assert_allclose(blended, (sums / windows)[:, : image_hw[0], : image_hw[1]], atol=2e-6)


@pytest.mark.parametrize("overlap", [0, 7, 16])
def test_a_constant_stays_a_constant(overlap: int) -> None:
    grid = make_grid((150, 170), (32, 48), overlap)

    blended = blend(grid, {place: np.full((1, 32, 48), 0.3, np.float32) for place in places(grid)})

    np.testing.assert_allclose(blended, 0.3, atol=1e-6)
