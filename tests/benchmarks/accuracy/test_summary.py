"""Means and paired differences over images, by hand."""

from __future__ import annotations

import math

import pytest

from segdino_deploy.benchmarks.accuracy.summary import summarise_accuracy
from segdino_deploy.benchmarks.statistics import interval_of_mean

FOUR = [4.0, 4.0, 4.0, 4.0]


def test_means_leave_out_what_is_not_known_and_differences_pair_the_rest() -> None:
    engine = {"hd95": [1.0, None, 3.0, 8.0, None, *FOUR]}
    reference = {"hd95": [2.0, 5.0, None, 2.0, None, *FOUR]}

    summary = summarise_accuracy(engine, reference)["hd95"]

    assert summary.mean == 4  # of 1, 3, 8 and four 4s
    assert (summary.images, summary.left_out) == (7, 2)
    assert summary.difference == pytest.approx(5 / 6)  # of -1, 6 and four 0s: the images where both have it
    assert summary.difference_interval == interval_of_mean([-1.0, 6.0, 0.0, 0.0, 0.0, 0.0])


def test_so_few_images_have_a_difference_without_an_interval() -> None:
    summary = summarise_accuracy({"dice": [0.5] * 5}, {"dice": [0.25, 0.5, 0.5, 0.5, 0.5]})["dice"]

    assert summary.difference == pytest.approx(0.05)
    assert summary.difference_interval is None


def test_infinite_and_nan_count_as_not_known() -> None:
    summary = summarise_accuracy({"hd95": [1.0, math.inf, math.nan]}, {"hd95": [1.0, math.inf, 1.0]})["hd95"]

    assert (summary.mean, summary.images, summary.left_out) == (1, 1, 2)
    assert summary.difference == 0
    assert summary.difference_interval is None


def test_a_metric_that_no_image_has_is_none_throughout() -> None:
    summary = summarise_accuracy({"ber": [None, None]}, {"ber": [1.0, 2.0]})["ber"]

    assert (summary.mean, summary.images, summary.left_out) == (None, 0, 2)
    assert summary.difference is None and summary.difference_interval is None


def test_the_reference_differs_from_itself_by_nothing() -> None:
    values = {"dice": [0.5, 0.75, 1.0] * 2, "polyp:agreement": [1.0] * 6}

    for summary in summarise_accuracy(values, values).values():
        assert summary.difference == 0
        assert summary.difference_interval is not None
        assert (summary.difference_interval.low, summary.difference_interval.high) == (0, 0)


def test_a_metric_that_the_reference_lacks_has_no_difference() -> None:
    summary = summarise_accuracy({"mae": [0.1, 0.2]}, {})["mae"]

    assert summary.mean == pytest.approx(0.15)
    assert summary.difference is None and summary.difference_interval is None


def test_lists_of_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        summarise_accuracy({"dice": [1.0, 1.0]}, {"dice": [1.0]})
