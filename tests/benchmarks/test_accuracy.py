"""Dice, IoU and HD95 against scipy and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, distance_transform_edt

from segdino_deploy.benchmarks.accuracy import boundary, dice, hd95, iou, score


def blob(seed: int, shape: tuple[int, int] = (40, 56)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    mask = np.zeros(shape, bool)
    for _ in range(4):
        y, x, radius = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(2, 12)
        mask |= (rows - y) ** 2 + (columns - x) ** 2 < radius**2
    return mask


def hd95_by_scipy(a: np.ndarray, b: np.ndarray) -> float:
    edge_a, edge_b = a & ~binary_erosion(a), b & ~binary_erosion(b)
    to_b, to_a = distance_transform_edt(~edge_b), distance_transform_edt(~edge_a)
    return float(np.percentile(np.concatenate([to_b[edge_a], to_a[edge_b]]), 95))


@pytest.mark.parametrize("seed", range(8))
def test_hd95_agrees_with_scipys_exact_distances(seed: int) -> None:
    a, b = blob(seed), blob(seed + 100)

    assert hd95(a, b) == pytest.approx(hd95_by_scipy(a, b), rel=1e-5)
    np.testing.assert_array_equal(boundary(a), a & ~binary_erosion(a))


def test_hd95_of_empty_masks() -> None:
    empty, some = np.zeros((4, 4), bool), np.eye(4, dtype=bool)

    assert hd95(empty, empty) == 0
    assert hd95(empty, some) == math.inf
    assert hd95(some, empty) == math.inf


def test_dice_and_iou_by_hand() -> None:
    # |A| = 3, |B| = 2, overlap 1: Dice 2/5, IoU 1/4
    a = np.array([[1, 1, 1, 0]], bool)
    b = np.array([[0, 0, 1, 1]], bool)

    assert dice(a, b) == pytest.approx(0.4, abs=1e-6)
    assert iou(a, b) == pytest.approx(0.25, abs=1e-6)
    assert dice(a & False, b & False) == 1
    assert iou(a & False, b & False) == 1


def test_scores_are_means_over_images_and_count_what_they_drop() -> None:
    full, empty = np.ones((2, 2), np.uint8), np.zeros((2, 2), np.uint8)

    scores = score([full, full, empty], [full, empty, empty], ["lesion"])

    assert scores.dice == pytest.approx(2 / 3, abs=1e-6)
    assert scores.hd95 == 0  # of the two images in which it is finite
    assert scores.hd95_infinite == 1


def test_background_is_not_a_class_of_the_mean() -> None:
    truth = np.array([[0, 1, 1, 2]], np.uint8)
    mask = np.array([[0, 1, 1, 0]], np.uint8)

    scores = score([mask], [truth], ["background", "grey", "white"])

    assert [entry.name for entry in scores.classes] == ["grey", "white"]
    assert [entry.dice for entry in scores.classes] == pytest.approx([1, 0], abs=1e-5)
    assert scores.dice == pytest.approx(0.5, abs=1e-5)
    assert scores.classes[1].hd95 is None
