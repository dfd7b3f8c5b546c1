"""Intervals: how often they cover the truth, and what they do with next to nothing."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import bootstrap

from segdino_deploy.benchmarks.result import Interval, Ratio
from segdino_deploy.benchmarks.statistics import interval_of_mean, interval_of_ratio, interval_of_ratio_change
from segdino_deploy.timing import median_ratio

TRIALS = 300  # 95% of them, give or take 1.3%
ROUNDS = 20
TIMES_FASTER = 3.0


def covered(interval_of: Callable[[np.random.Generator], Interval | None], truth: float) -> float:
    """Share of simulated measurements whose interval holds the truth."""
    generator = np.random.default_rng(7)
    intervals = [known(interval_of(generator)) for _ in range(TRIALS)]
    return float(np.mean([interval.low <= truth <= interval.high for interval in intervals]))


def known(interval: Interval | None) -> Interval:
    assert interval is not None
    return interval


def rounds(generator: np.random.Generator, times_faster: float, count: int = ROUNDS) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds of the reference and of an engine on a machine that drifts to half its speed, in jumps as well."""
    drift = np.linspace(1, 2, count) * np.exp(np.cumsum(generator.normal(0, 0.05, count)))
    reference, engine = np.exp(generator.normal(0, 0.08, (2, count)))
    return 30 * drift * reference, 30 / times_faster * drift * engine


def test_the_ratios_interval_covers_the_true_ratio_in_spite_of_shared_drift() -> None:
    share = covered(lambda generator: interval_of_ratio(*rounds(generator, TIMES_FASTER)).interval, TIMES_FASTER)

    assert 0.90 <= share <= 0.99


def test_the_interval_of_a_change_of_ratio_covers_the_true_change() -> None:
    def interval(generator: np.random.Generator) -> Interval | None:
        old, new = rounds(generator, TIMES_FASTER), rounds(generator, 1.25 * TIMES_FASTER, count=15)
        return interval_of_ratio_change(*old, *new).interval

    assert 0.90 <= covered(interval, 1.25) <= 0.99


def test_the_interval_of_a_mean_difference_covers_the_true_mean() -> None:
    share = covered(lambda generator: interval_of_mean(generator.normal(0.3, 1, 40)), 0.3)

    assert 0.90 <= share <= 0.99


def test_rounds_are_drawn_as_pairs() -> None:
    """What slows both sides of a round does not widen the interval; with one side shuffled it would."""
    drift = np.linspace(1, 2, ROUNDS)
    shuffled = np.random.default_rng(1).permutation(drift)

    paired = known(interval_of_ratio(30 * drift, 10 * drift).interval)
    unpaired = known(interval_of_ratio(30 * drift, 10 * shuffled).interval)

    assert (paired.low, paired.high) == pytest.approx((3, 3))
    assert unpaired.high - unpaired.low > 0.3


def test_the_interval_of_a_mean_is_scipys() -> None:
    values = np.random.default_rng(3).exponential(1, 60)
    expected = bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(4)
    ).confidence_interval

    found = known(interval_of_mean(values))

    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=width / 20)
    assert found.high == pytest.approx(expected.high, abs=width / 20)


def test_the_interval_of_a_ratio_is_scipys() -> None:
    reference, engine = rounds(np.random.default_rng(3), TIMES_FASTER, count=31)
    expected = bootstrap(
        (reference / engine,), np.median, n_resamples=20_000, method="percentile", rng=np.random.default_rng(4)
    ).confidence_interval

    found = known(interval_of_ratio(reference, engine).interval)

    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=width / 10)
    assert found.high == pytest.approx(expected.high, abs=width / 10)


def test_the_ratio_is_the_one_of_timing() -> None:
    reference, engine = rounds(np.random.default_rng(5), TIMES_FASTER)

    ratio = interval_of_ratio(reference, engine)

    assert ratio.value == median_ratio(list(reference), list(engine))
    assert known(ratio.interval).low <= ratio.value <= known(ratio.interval).high


def test_a_change_of_ratio_is_new_over_old() -> None:
    # 2 times faster, then 3 times faster: another machine may be slower altogether
    change = interval_of_ratio_change([10.0, 20.0] * 3, [5.0, 10.0] * 3, [60.0, 90.0, 30.0] * 3, [20.0, 30.0, 10.0] * 3)

    assert change.value == pytest.approx(1.5)
    assert (known(change.interval).low, known(change.interval).high) == pytest.approx((1.5, 1.5))


def test_identical_samples_give_an_interval_without_width() -> None:
    assert interval_of_mean([0.25] * 10) == Interval(low=0.25, high=0.25)
    assert interval_of_ratio([6.0] * 9, [2.0] * 9).interval == Interval(low=3, high=3)
    change = interval_of_ratio_change([6.0] * 5, [2.0] * 5, [6.0] * 5, [1.0] * 5)
    assert change.interval == Interval(low=2, high=2)


def test_too_few_samples_give_no_interval() -> None:
    """Of the means of five images one in four would miss the truth, of the ratios of three rounds as well."""
    assert interval_of_mean([-1.0, 3.0, 1.0, 1.0, 1.0]) is None
    assert interval_of_mean([-1.0, 3.0, 1.0, 1.0, 1.0, 1.0]) is not None
    four, five = ([6.0] * 4, [2.0] * 4), ([6.0] * 5, [2.0] * 5)
    assert interval_of_ratio(*four) == Ratio(value=3, interval=None)
    assert interval_of_ratio(*five).interval is not None
    assert interval_of_ratio_change(*four, *five) == Ratio(value=1, interval=None)
    assert interval_of_ratio_change(*five, *four) == Ratio(value=1, interval=None)


def test_a_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values = np.random.default_rng(0).normal(size=50)

    assert interval_of_mean(values, seed=1) == interval_of_mean(values, seed=1)
    assert interval_of_mean(values, seed=1) != interval_of_mean(values, seed=2)


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    values = np.random.default_rng(0).normal(size=20_000)

    tracemalloc.start()
    interval_of_mean(values)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 16 * 2**20  # all draws together would be 320 MB


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")], [[1.0], [2.0]]])
def test_what_has_no_mean_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite numbers"):
        interval_of_mean(values)


def test_rounds_that_are_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        interval_of_ratio([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="no time"):
        interval_of_ratio([1.0, 2.0], [1.0, 0.0])
