"""From samples to what is stored and shown of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segdino_deploy.benchmarks.gpu.result import Timing
from segdino_deploy.timing import median_ratio

PERCENTILES = (50, 90, 95, 99)
DECIMALS = 5  # of a millisecond: CUDA's events tick every half microsecond


def summarise(samples_ms: Sequence[float]) -> Timing:
    """Percentiles with linear interpolation between the samples, which are kept."""
    p50, p90, p95, p99 = (round(float(value), DECIMALS) for value in np.percentile(samples_ms, PERCENTILES))
    samples = [round(sample, DECIMALS) for sample in samples_ms]
    return Timing(p50_ms=p50, p90_ms=p90, p95_ms=p95, p99_ms=p99, samples_ms=samples)


def times_faster(baseline_ms: Sequence[float] | None, samples_ms: Sequence[float]) -> float | None:
    """Median over the rounds of baseline / sample, round by round; None without a baseline."""
    return None if baseline_ms is None else round(median_ratio(baseline_ms, samples_ms), 4)
