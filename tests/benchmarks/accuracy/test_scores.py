"""Stored scores are means over the images, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from segdino_deploy.benchmarks.accuracy.scores import score


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
