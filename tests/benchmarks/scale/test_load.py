"""What is said of a load: counts, rates and percentiles."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pytest

from segdino_deploy.benchmarks.scale.load import Round, nearest_rank, run_round, summarise


@pytest.mark.parametrize("count", [1, 2, 99, 100, 101])
@pytest.mark.parametrize("percent", [50, 99, 100])
def test_percentiles_are_numpys(count: int, percent: float) -> None:
    ordered = np.sort(np.random.default_rng(count).random(count))

    assert nearest_rank(ordered.tolist(), percent) == np.percentile(ordered, percent, method="inverted_cdf")


def test_every_answer_is_counted_and_only_good_ones_are_timed() -> None:
    statuses = cycle([200, 503, 503])

    seen = run_round(lambda: lambda: next(statuses), 1, 0.05)

    assert set(seen.statuses) == {200, 503}
    assert len(seen.latencies_ms) == seen.statuses[200]
    assert abs(seen.statuses[503] - 2 * seen.statuses[200]) <= 2


def test_rounds_are_taken_together() -> None:
    load = summarise([Round(2, 2.0, {200: 3, 503: 1}, [1.0, 5.0, 3.0]), Round(2, 1.0, {200: 1}, [9.0])])

    assert (load.clients, load.images_per_s, load.statuses) == (2, 4 / 3, {200: 4, 503: 1})
    assert (load.p50_ms, load.p99_ms, load.max_ms) == (3.0, 9.0, 9.0)
    assert load.rounds == [1.5, 1.0]


def test_a_load_without_any_answer_is_no_result() -> None:
    with pytest.raises(ValueError, match="nothing was answered"):
        summarise([Round(1, 1.0, {503: 7}, [])])
