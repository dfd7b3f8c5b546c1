"""Masks from logits and probabilities in C++: those of Python, at every threshold and for every number."""

from __future__ import annotations

import numpy as np
import pytest

from segdino_deploy.evidence import logit_of, mask_from_logits, mask_from_probability, probability_from_logits
from tests.cpp.bundle_probes import BundleProbes


@pytest.mark.parametrize("classes", [1, 2, 3, 19, 256])
@pytest.mark.parametrize("pixels", [1, 7, 1023, 1024, 1025, 5000])
def test_masks_are_those_of_python(classes: int, pixels: int, probes: BundleProbes) -> None:
    rng = np.random.default_rng(classes * pixels)
    logits = rng.normal(size=(classes, pixels)).astype(np.float32)
    coarse = np.round(logits)  # many equal values: the first class wins

    for values in (logits, coarse, np.zeros_like(logits)):
        for threshold in (0.5, 0.3, 0.999):
            expected = mask_from_logits(values.reshape(1, classes, 1, pixels), threshold).ravel()
            np.testing.assert_array_equal(probes.mask_from_values(values, logit_of(threshold)), expected)
            probability = probability_from_logits(values.reshape(1, classes, 1, pixels))
            np.testing.assert_array_equal(
                probes.mask_from_values(probability.reshape(classes, pixels), threshold),
                mask_from_probability(probability, threshold).ravel(),
            )


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_masks_of_values_that_are_no_numbers_are_those_of_python(classes: int, probes: BundleProbes) -> None:
    rng = np.random.default_rng(classes)
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, 1e-45], np.float32)
    values = rng.choice(special, (classes, 3000))

    expected = mask_from_logits(values.reshape(1, classes, 1, -1), 0.5).ravel()

    np.testing.assert_array_equal(probes.mask_from_values(values, 0.0), expected)


@pytest.mark.parametrize("threshold", [1e-300, 1e-9, 0.1, 0.5, 0.7310585786300049, 1 - 1e-16])
def test_the_logit_of_a_threshold_is_pythons(threshold: float, probes: BundleProbes) -> None:
    assert probes.logit_of(threshold) == pytest.approx(logit_of(threshold), rel=1e-15, abs=1e-15)


def test_a_value_at_the_threshold_is_background(probes: BundleProbes) -> None:
    threshold = np.float32(0.3)
    values = np.array([[np.nextafter(threshold, np.float32(0)), threshold, np.nextafter(threshold, np.float32(1))]])

    np.testing.assert_array_equal(probes.mask_from_values(values, float(threshold)), [0, 0, 1])
