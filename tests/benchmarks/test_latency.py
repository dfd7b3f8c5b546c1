"""Interleaving and summaries, without a clock in any assertion."""

from __future__ import annotations

import numpy as np
import pytest

from segdino_deploy.benchmarks.latency import summarise
from segdino_deploy.timing import interleave, median_ratio


def test_every_contestant_runs_once_per_round_and_the_order_rotates() -> None:
    calls: list[tuple[str, int]] = []

    def contestant(name: str):  # type: ignore[no-untyped-def]
        return lambda index: calls.append((name, index))

    samples = interleave({name: contestant(name) for name in "abc"}, rounds=3, warmup=1)

    assert {name: len(values) for name, values in samples.items()} == {"a": 3, "b": 3, "c": 3}
    rounds = [calls[start : start + 3] for start in range(0, len(calls), 3)]
    assert [sorted(name for name, _ in one) for one in rounds] == [["a", "b", "c"]] * 4
    assert len({tuple(name for name, _ in one) for one in rounds[1:]}) == 3
    assert [one[0][1] for one in rounds] == [0, 0, 1, 2]


def test_percentiles_are_numpys_per_image_and_samples_are_kept() -> None:
    values = [10.0, 30.0, 20.0, 50.0]

    latency = summarise(values, images_per_run=2)

    assert latency.samples_ms == [5, 15, 10, 25]
    assert latency.p50_ms == pytest.approx(np.percentile([5, 15, 10, 25], 50))
    assert latency.p99_ms == pytest.approx(np.percentile([5, 15, 10, 25], 99))


def test_ratio_is_taken_round_by_round() -> None:
    # ratios of the rounds 1, 5, 10; the ratio of the medians would be 30 / 10 = 3
    assert median_ratio([10, 100, 30], [10, 20, 3]) == 5
