"""Where tiles lie and what they weigh."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.signal.windows import hann

from segdino_deploy.tiles.grid import Axis, make_grid


def axis(length: int, tile: int, overlap: int) -> Axis:
    return make_grid((length, tile), (tile, tile), overlap).rows


@pytest.mark.parametrize("overlap", [0, 1, 15, 16, 32])
@pytest.mark.parametrize("length", [64, 65, 96, 127, 128, 129, 1000, 4099])
def test_tiles_lie_inside_the_image_and_share_at_least_the_overlap(length: int, overlap: int) -> None:
    starts = axis(length, 64, overlap).starts

    assert (starts[0], starts[-1]) == (0, length - 64)
    steps = np.diff(starts)
    assert all(0 < step <= 64 - overlap for step in steps)
    fewer = len(starts) - 1
    assert not fewer or fewer * 64 - (fewer - 1) * overlap < length  # with one tile less they would not reach
    assert not len(steps) or max(steps) - min(steps) <= 1  # evenly spread: none is computed almost twice


def test_an_image_smaller_than_a_tile_is_one_tile() -> None:
    grid = make_grid((10, 200), (64, 64), 16)

    assert grid.rows.starts == (0,) and grid.rows.length == 64
    assert len(grid.columns.starts) == 4 and grid.columns.length == 200


@pytest.mark.parametrize(("length", "overlap"), [(64, 16), (100, 0), (1000, 1), (1000, 16), (1000, 32), (4099, 20)])
def test_the_weights_at_each_pixel_sum_to_one(length: int, overlap: int) -> None:
    columns = axis(length, 64, overlap)
    total = np.zeros(length)
    for start, weight in zip(columns.starts, columns.weights, strict=True):
        assert weight.min() > 0
        total[start : start + 64] += weight

    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_neighbours_weigh_as_their_hann_windows_do() -> None:
    columns = axis(112, 64, 16)  # at 0 and 48
    window = hann(2 * 64 + 1)[1::2]  # a symmetric window of 129 samples, at the centres of 64 pixels
    shared = slice(48, 64)

    expected = window[48:] / (window[48:] + window[:16])
    np.testing.assert_allclose(columns.weights[0][shared], expected, atol=1e-6)
    assert all(a > b for a, b in itertools.pairwise(columns.weights[0][shared]))  # hands over without a step
    assert columns.weights[0][shared][0] > 0.99 and columns.weights[0][shared][-1] < 0.01


def test_the_border_of_the_image_counts_fully() -> None:
    columns = axis(1000, 64, 16)

    assert columns.weights[0][0] == columns.weights[-1][-1] == 1
