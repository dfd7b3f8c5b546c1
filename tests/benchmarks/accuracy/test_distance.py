"""HD95 against scipy and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, distance_transform_edt
from scipy.spatial.distance import cdist

from segdino_deploy.benchmarks.accuracy.distance import boundary, hd95
from tests.benchmarks.accuracy.masks import PAIRS

BOTH = [name for name, (mask, truth) in PAIRS.items() if mask.any() and truth.any()]
ONE = [name for name, (mask, truth) in PAIRS.items() if mask.any() != truth.any()]


def by_distance_transform(a: np.ndarray, b: np.ndarray) -> float:
    edge_a, edge_b = a & ~binary_erosion(a), b & ~binary_erosion(b)
    to_b, to_a = distance_transform_edt(~edge_b), distance_transform_edt(~edge_a)
    return float(np.percentile(np.concatenate([to_b[edge_a], to_a[edge_b]]), 95))


def by_all_pairs(a: np.ndarray, b: np.ndarray) -> float:
    between = cdist(np.argwhere(a & ~binary_erosion(a)), np.argwhere(b & ~binary_erosion(b)))
    return float(np.percentile(np.concatenate([between.min(axis=1), between.min(axis=0)]), 95))


@pytest.mark.parametrize("name", BOTH)
def test_hd95_agrees_with_scipys_exact_distances(name: str) -> None:
    a, b = PAIRS[name]

    assert hd95(a, b) == pytest.approx(by_distance_transform(a, b), rel=1e-5)
    assert hd95(a, b) == pytest.approx(by_all_pairs(a, b), rel=1e-5)
    assert hd95(a, b) == hd95(b, a)
    np.testing.assert_array_equal(boundary(a), a & ~binary_erosion(a))


@pytest.mark.parametrize("name", ONE)
def test_hd95_is_infinite_where_exactly_one_mask_is_empty(name: str) -> None:
    assert hd95(*PAIRS[name]) == math.inf


def test_hd95_of_two_empty_masks_is_zero() -> None:
    assert hd95(*PAIRS["both empty"]) == 0


def test_hd95_by_hand() -> None:
    # 3 columns and 4 rows apart: 5 pixels, in both directions
    a, b = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    a[1, 2], b[5, 5] = True, True

    assert hd95(a, b) == 5
