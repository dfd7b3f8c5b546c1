"""Latency by interleaved rounds: every contestant runs once per round, so a drifting machine hurts all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
from pydantic import BaseModel

from segdino_deploy.progress import OnCount, ignore

Run = Callable[[int], object]  # called with the round's number, so that it can take another image each time


class Latency(BaseModel):
    """Milliseconds per image; every sample is kept."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    samples_ms: list[float]


def interleave(
    contestants: Mapping[str, Run],
    rounds: int,
    warmup: int,
    on_round: OnCount = ignore,
) -> dict[str, list[float]]:
    """Milliseconds of every run: `rounds` samples per contestant after `warmup` rounds that do not count.

    The order rotates by one each round, so that nobody always runs behind the same neighbour.
    """
    names = list(contestants)
    samples: dict[str, list[float]] = {name: [] for name in names}
    for round_index in range(-warmup, rounds):
        shift = round_index % len(names)
        for name in names[shift:] + names[:shift]:
            started = time.perf_counter()
            contestants[name](max(round_index, 0))
            elapsed_ms = (time.perf_counter() - started) * 1e3
            if round_index >= 0:
                samples[name].append(elapsed_ms)
        on_round(round_index + warmup + 1, rounds + warmup)
    return samples


def summarise(samples_ms: list[float], images_per_run: int) -> Latency:
    """Percentiles per image (linear interpolation) of one contestant's samples."""
    per_image = np.array(samples_ms) / images_per_run
    p50, p90, p99 = (float(value) for value in np.percentile(per_image, [50, 90, 99]))
    return Latency(p50_ms=p50, p90_ms=p90, p99_ms=p99, samples_ms=[round(float(v), 4) for v in per_image])


def median_ratio(reference_ms: list[float], samples_ms: list[float]) -> float:
    """How many times faster than the reference: median over the rounds of reference / sample, taken round by round."""
    return float(np.median(np.array(reference_ms) / np.array(samples_ms)))
