"""Timing by interleaved rounds: every contestant runs once per round, so a drifting machine hurts all alike."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

from segdino_deploy.progress import OnCount, ignore

Run = Callable[[int], object]  # called with the round's number, so that it can take another image each time


def every_round(run: Callable[[], object]) -> Run:
    """A contestant that does the same in every round."""
    return lambda _round: run()


def interleave(
    contestants: Mapping[str, Run],
    rounds: int,
    warmup: int,
    on_round: OnCount = ignore,
    *,
    at_least: int = 1,
    seconds: float = math.inf,
) -> dict[str, list[float]]:
    """Milliseconds of every run: `rounds` samples per contestant after `warmup` rounds that do not count.

    The order rotates by one each round, so that everyone has each place in turn; behind its neighbour in `contestants`
    it runs in all rounds but those that it opens, so that what one leaves behind (a cold cache, a hot processor) is the
    next one's to bear. After `seconds` no more rounds are started once there are `at_least` of them.
    """
    names = list(contestants)
    samples: dict[str, list[float]] = {name: [] for name in names}
    began = time.perf_counter()
    for round_index in range(-warmup, rounds):
        if round_index >= at_least and time.perf_counter() - began > seconds:
            break
        shift = round_index % len(names)
        for name in names[shift:] + names[:shift]:
            started = time.perf_counter()
            contestants[name](max(round_index, 0))
            elapsed_ms = (time.perf_counter() - started) * 1e3
            if round_index >= 0:
                samples[name].append(elapsed_ms)
        on_round(round_index + warmup + 1, rounds + warmup)
    return samples


def median_ratio(reference_ms: Sequence[float], samples_ms: Sequence[float]) -> float:
    """How many times faster than the reference: median over the rounds of reference / sample, taken round by round."""
    return statistics.median(a / b for a, b in zip(reference_ms, samples_ms, strict=True))
