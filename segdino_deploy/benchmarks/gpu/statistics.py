"""Ratios to the baseline of a group."""

from __future__ import annotations

from collections.abc import Sequence

from segdino_deploy.timing import median_ratio


def times_faster(baseline_ms: Sequence[float] | None, samples_ms: Sequence[float]) -> float | None:
    """Median over the rounds of baseline / sample, round by round; None without a baseline."""
    return None if baseline_ms is None else round(median_ratio(baseline_ms, samples_ms), 4)
