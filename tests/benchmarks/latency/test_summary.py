"""Latency summaries, without a clock in any assertion."""

from __future__ import annotations

import numpy as np
import pytest

from segdino_deploy.benchmarks.latency.summary import summarise


def test_percentiles_are_numpys_per_image_and_samples_are_kept() -> None:
    values = [10.0, 30.0, 20.0, 50.0]

    latency = summarise(values, images_per_run=2)

    assert latency.samples_ms == [5, 15, 10, 25]
    assert latency.p50_ms == pytest.approx(np.percentile([5, 15, 10, 25], 50))
    assert latency.p99_ms == pytest.approx(np.percentile([5, 15, 10, 25], 99))


def test_percentiles_interpolate_between_the_samples() -> None:
    """Of 0, 1, ..., 100 the p-th percentile is p; of two samples each lies on the line between them."""
    timing = summarise([float(value) for value in range(101)], 1)
    pair = summarise([3.0, 1.0], 1)

    assert (timing.p50_ms, timing.p90_ms, timing.p95_ms, timing.p99_ms) == (50, 90, 95, 99)
    assert (pair.p50_ms, pair.p90_ms, pair.p95_ms, pair.p99_ms) == pytest.approx((2.0, 2.8, 2.9, 2.98))
    assert pair.samples_ms == [3.0, 1.0]
