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
