"""Agreement with the reference against scikit-learn, scipy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from sklearn.metrics import accuracy_score

from segdino_deploy.benchmarks.accuracy.agreement import band_agreement, boundary_band
from segdino_deploy.benchmarks.accuracy.image import compare_image
from tests.benchmarks.accuracy.masks import PAIRS, blob


def distance_to_another_class(mask: np.ndarray) -> np.ndarray:
    """Of each pixel, to the nearest one of any other class."""
    distance = np.zeros(mask.shape)
    for value in np.unique(mask):
        inside = mask == value
        distance[inside] = distance_transform_edt(inside)[inside]
    return distance


@pytest.mark.parametrize("seed", range(5))
def test_the_band_is_what_is_near_another_class(seed: int) -> None:
    mask = blob(seed).astype(np.uint8) + 2 * blob(seed + 7).astype(np.uint8)
    distance = distance_to_another_class(mask)
    band = boundary_band(mask)

    assert band[distance <= 3].all()
    assert not band[distance > np.sqrt(10)].any()  # three to the side and one up is in OpenCV's ellipse


@pytest.mark.parametrize("name", PAIRS)
def test_agreement_is_scikit_learns_accuracy(name: str) -> None:
    mask, reference = (side.astype(np.uint8) for side in PAIRS[name])
    band = boundary_band(reference)
    expected = accuracy_score(reference[band], mask[band]) if band.any() else None

    assert compare_image(mask, reference)["agreement"] == pytest.approx(accuracy_score(reference.ravel(), mask.ravel()))
    assert band_agreement(mask, reference) == pytest.approx(expected)


def test_without_a_boundary_there_is_no_band() -> None:
    one_class = np.ones((9, 9), np.uint8)

    assert not boundary_band(one_class).any()
    assert band_agreement(one_class * 0, one_class) is None


def test_by_hand() -> None:
    reference = np.zeros((10, 20), np.uint8)
    reference[:, 10:] = 2  # the band: three columns to each side, 60 pixels
    mask = reference.copy()
    mask[0, 9], mask[0, 10], mask[0, 0] = 2, 0, 1

    assert compare_image(mask, reference)["agreement"] == pytest.approx(1 - 3 / 200)
    assert band_agreement(mask, reference) == pytest.approx(1 - 2 / 60)
