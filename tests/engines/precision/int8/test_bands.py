"""Products with interpolation matrices, in tiles; the oracle is the dense product."""

from __future__ import annotations

import numpy as np
import pytest

from segdino_deploy.engines.precision.int8.bands import tiles_of
from segdino_deploy.export.fold.upsampling import shifted_interpolation


def banded(size: int, scale: int) -> np.ndarray:
    """T1's matrix `[scale * size, 3 * size]`, the three taps of a row beside each other."""
    matrix = shifted_interpolation(size, scale * size, align_corners=False).numpy()
    return np.ascontiguousarray(matrix.reshape(-1, 3, size).transpose(0, 2, 1).reshape(scale * size, -1))


@pytest.mark.parametrize(("size", "scale"), [(16, 8), (32, 8), (32, 4), (64, 8)])
def test_tiles_give_the_dense_product_with_fewer_operations(size: int, scale: int) -> None:
    matrix = banded(size, scale)
    x = np.random.default_rng(0).normal(size=(matrix.shape[1], 5))
    tiles = tiles_of(matrix)

    assert tiles is not None
    assert tiles.blocks.size < matrix.size * 0.6
    found = (tiles.blocks @ x[tiles.columns]).reshape(len(matrix), -1)
    np.testing.assert_allclose(found, matrix @ x, rtol=0, atol=1e-12)


def test_a_matrix_without_a_band_and_a_small_one_stay_dense() -> None:
    assert tiles_of(np.random.default_rng(0).normal(size=(256, 96))) is None
    assert tiles_of(banded(4, 8)) is None
    assert tiles_of(np.ones((1, 3))) is None


def test_rows_of_zeros_are_no_obstacle() -> None:
    matrix = banded(32, 8)
    matrix[64:128] = 0
    matrix[:, :12] = 0
    x = np.random.default_rng(0).normal(size=(matrix.shape[1], 2))
    tiles = tiles_of(matrix)

    assert tiles is not None
    np.testing.assert_allclose((tiles.blocks @ x[tiles.columns]).reshape(len(matrix), -1), matrix @ x, atol=1e-12)
