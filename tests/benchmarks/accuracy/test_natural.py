"""Accuracy, F-beta, MAE and BER against scikit-learn and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, fbeta_score, mean_absolute_error

from segdino_deploy.benchmarks.accuracy.natural import ber, f_beta, mae, pixel_accuracy
from tests.benchmarks.accuracy.masks import PAIRS, SHAPE

TWO_KINDS = [name for name, (_, truth) in PAIRS.items() if truth.any() and not truth.all()]
ONE_KIND = [name for name in PAIRS if name not in TWO_KINDS]


@pytest.mark.parametrize("name", PAIRS)
def test_accuracy_f_beta_and_mae_are_scikit_learns(name: str) -> None:
    mask, truth = PAIRS[name]
    predicted, expected = mask.ravel(), truth.ravel()
    probability = np.random.default_rng(0).random(mask.shape).astype(np.float32)

    assert pixel_accuracy(mask, truth) == pytest.approx(accuracy_score(expected, predicted))
    assert f_beta(mask, truth) == pytest.approx(
        fbeta_score(expected, predicted, beta=math.sqrt(0.3), zero_division=1.0)
    )
    assert mae(probability, truth) == pytest.approx(mean_absolute_error(expected, probability.ravel()), rel=1e-6)
    assert mae(mask, truth) == pytest.approx(1 - accuracy_score(expected, predicted))


@pytest.mark.parametrize("name", TWO_KINDS)
def test_ber_is_what_balanced_accuracy_leaves_in_percent(name: str) -> None:
    mask, truth = PAIRS[name]

    assert ber(mask, truth) == pytest.approx(100 * (1 - balanced_accuracy_score(truth.ravel(), mask.ravel())))


@pytest.mark.parametrize("name", ONE_KIND)
def test_ber_is_not_defined_where_the_truth_has_one_kind_of_pixel(name: str) -> None:
    assert ber(*PAIRS[name]) is None


@pytest.mark.parametrize("seed", range(3))
def test_accuracy_of_several_classes_is_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask, truth = rng.integers(0, 4, (2, *SHAPE)).astype(np.uint8)

    assert pixel_accuracy(mask, truth) == pytest.approx(accuracy_score(truth.ravel(), mask.ravel()))


def test_by_hand() -> None:
    # TP 1, FP 2, FN 1, TN 4
    predicted = np.array([[1, 1, 1, 0, 0, 0, 0, 0]], bool)
    truth = np.array([[1, 0, 0, 1, 0, 0, 0, 0]], bool)

    assert pixel_accuracy(predicted, truth) == 5 / 8
    assert f_beta(predicted, truth) == pytest.approx(1.3 / (1.3 + 0.3 + 2))
    assert mae(predicted, truth) == 3 / 8
    # half of the foreground, two thirds of the background: 100 (1 - (1/2 + 2/3) / 2)
    assert ber(predicted, truth) == pytest.approx(100 * 5 / 12)


def test_f_beta_of_empty_masks() -> None:
    assert f_beta(*PAIRS["both empty"]) == 1
    assert f_beta(*PAIRS["nothing found"]) == 0
    assert f_beta(*PAIRS["nothing to find"]) == 0
