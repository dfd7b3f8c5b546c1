"""Bootstrap intervals (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13): what other images or
other rounds might have given.

The percentile interval: what was measured is drawn again with replacement, `REPEATS` times and as often as there are
samples, and 95% of the repeats' results lie in it. Pairs stay pairs: an image or a round is drawn with both its sides.

How often it covers the truth, of 2,000 simulated measurements:
- the median of ratios with shared drift and noise that is lognormal, skewed or has spikes: 92% to 95% for 5 to 30
  rounds. BCa changes nothing here, and a smoothed bootstrap covers too much (97% to 98%), so neither is used. Fewer
  rounds cover 73% (3), 52% (2) and nothing (1): they get no interval;
- the change of such a ratio between two runs: 95% to 97%, if all that differs is what differs between the rounds within
  one run. Two processes differ by more (where memory lies, what else runs), and no interval from their rounds knows it;
- the mean of differences: 94% (normal), 92% (skewed), 90% (70% of the images unchanged) for 40 images, but 87%, 83% and
  73% for 8: the fewer the images, the more the interval promises. Fewer than `MIN_IMAGES` get none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.benchmarks.result import Interval, Ratio

MIN_ROUNDS = 5  # that an interval needs
MIN_IMAGES = 6  # that an interval needs
ENOUGH_IMAGES = 20  # with fewer an interval is too narrow to settle anything
REPEATS = 2000
PERCENTILES = (2.5, 97.5)
DRAWS_AT_ONCE = 2**18  # samples of all repeats that are in memory together, where one repeat does not need more

Float = NDArray[np.float64]
Samples = Sequence[float] | Float


def interval_of_mean(differences: Samples, seed: int = 0) -> Interval | None:
    """Of the mean of paired differences, one for each image; None of fewer than `MIN_IMAGES`.

    ValueError: no differences, or one that is not finite.
    """
    values = _finite(differences)
    if values.size < MIN_IMAGES:
        return None
    return _interval(_resample(values, _means, np.random.default_rng(seed)))


def interval_of_ratio(reference_ms: Samples, samples_ms: Samples, seed: int = 0) -> Ratio:
    """How many times faster than the reference, as `timing.median_ratio`: the rounds are drawn as pairs.

    Without an interval where there are fewer than `MIN_ROUNDS`. ValueError: no rounds, unequal numbers of them, or
    times that are not positive.
    """
    ratios = _ratios(reference_ms, samples_ms)
    value = float(np.median(ratios))
    if ratios.size < MIN_ROUNDS:
        return Ratio(value=value, interval=None)
    return Ratio(value=value, interval=_interval(_resample(ratios, _medians, np.random.default_rng(seed))))


def interval_of_ratio_change(
    old_reference_ms: Samples,
    old_samples_ms: Samples,
    new_reference_ms: Samples,
    new_samples_ms: Samples,
    seed: int = 0,
) -> Ratio:
    """How many times larger the ratio of `interval_of_ratio` is in a new run than in an old one.

    Within a run the rounds are drawn as pairs; the two runs are drawn independently of each other, so that they may
    have different numbers of rounds; without an interval where one of them has fewer than `MIN_ROUNDS`. What differs
    between two processes, but not between the rounds of one, is not in the interval. ValueError as there.
    """
    old, new = _ratios(old_reference_ms, old_samples_ms), _ratios(new_reference_ms, new_samples_ms)
    value = float(np.median(new) / np.median(old))
    if min(old.size, new.size) < MIN_ROUNDS:
        return Ratio(value=value, interval=None)
    generator = np.random.default_rng(seed)
    old_repeats = _resample(old, _medians, generator)
    new_repeats = _resample(new, _medians, generator)
    return Ratio(value=value, interval=_interval(new_repeats / old_repeats))


def _means(drawn: Float) -> Float:
    return np.asarray(drawn.mean(axis=1))


def _medians(drawn: Float) -> Float:
    return np.asarray(np.median(drawn, axis=1))


def _resample(values: Float, statistic: Callable[[Float], Float], generator: np.random.Generator) -> Float:
    """`statistic` (`[repeats, samples]` to `[repeats]`) of every repeat, `[REPEATS]`."""
    at_once = max(1, DRAWS_AT_ONCE // values.size)
    results = []
    for start in range(0, REPEATS, at_once):
        shape = (min(at_once, REPEATS - start), values.size)
        results.append(statistic(values[generator.integers(0, values.size, shape, dtype=np.int32)]))
    return np.concatenate(results)


def _interval(repeats: Float) -> Interval:
    low, high = np.percentile(repeats, PERCENTILES)
    return Interval(low=float(low), high=float(high))


def _ratios(reference_ms: Samples, samples_ms: Samples) -> Float:
    """Reference / sample of every round."""
    reference, samples = _finite(reference_ms), _finite(samples_ms)
    if reference.size != samples.size:
        raise ValueError(f"{reference.size} and {samples.size} rounds cannot be paired")
    if min(reference.min(), samples.min()) <= 0:
        raise ValueError("a round took no time: ratios need times above 0 ms")
    return np.asarray(reference / samples)


def _finite(values: Samples) -> Float:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise ValueError("intervals are of one or more finite numbers")
    return array
