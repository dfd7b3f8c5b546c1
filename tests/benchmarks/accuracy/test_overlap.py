"""Dice and IoU against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score

from segdino_deploy.benchmarks.accuracy.overlap import dice, iou
from tests.benchmarks.accuracy.masks import PAIRS


@pytest.mark.parametrize("name", PAIRS)
def test_dice_is_the_f1_score_and_iou_the_jaccard_score_of_the_pixels(name: str) -> None:
    mask, truth = PAIRS[name]
    predicted, expected = mask.ravel(), truth.ravel()

    # the papers' 1e-6 pixels show most where one pixel is wrong: 1e-6 / (1 + 1e-6)
    assert dice(mask, truth) == pytest.approx(f1_score(expected, predicted, zero_division=1), abs=1.1e-6)
    assert iou(mask, truth) == pytest.approx(jaccard_score(expected, predicted, zero_division=1), abs=1.1e-6)


def test_dice_and_iou_by_hand() -> None:
    # |A| = 3, |B| = 2, overlap 1: Dice 2/5, IoU 1/4
    a = np.array([[1, 1, 1, 0]], bool)
    b = np.array([[0, 0, 1, 1]], bool)

    assert dice(a, b) == pytest.approx(0.4, abs=1e-6)
    assert iou(a, b) == pytest.approx(0.25, abs=1e-6)
    assert dice(a & False, b & False) == 1
    assert iou(a & False, b & False) == 1
