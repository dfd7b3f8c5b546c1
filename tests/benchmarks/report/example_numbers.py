"""Random numbers that look like measurements: right-skewed latencies, and Dice that an engine loses a little of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.benchmarks.latency.summary import Latency, summarise
from segdino_deploy.benchmarks.result import (
    Accuracy,
    Interval,
    MetricSummary,
    Ratio,
    Speed,
    Stages,
    StartUp,
    Throughput,
)
from segdino_deploy.manifest import Precision

IMAGES, ROUNDS, REPEATS = 40, 60, 400
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Contestant:
    name: str
    backend: str
    precision: Precision
    ms: float
    loss: float  # of Dice, on average
    spread: float  # of the loss, from image to image


def make_samples(entry: Contestant, random: np.random.Generator) -> dict[str, Floats]:
    """Right-skewed milliseconds of the three ways and of the stages around the engine."""

    def around(ms: float) -> Floats:
        return ms * (0.98 + random.gamma(2.0, 0.015, ROUNDS))

    run = around(entry.ms)
    parts = {"decode": around(1.9), "resize": around(0.8), "run": run, "resize_back": around(0.2)}
    total = sum(parts.values(), np.zeros(ROUNDS))
    return {**parts, "total": total, "engine_only": around(0.97 * entry.ms), "with_copies": around(entry.ms)}


def make_speed(samples: dict[str, Floats], reference: dict[str, Floats], random: np.random.Generator) -> Speed:
    def latency(key: str) -> Latency:
        return summarise(list(samples[key]), 1)

    def ratio(key: str) -> Ratio:
        ratios = reference[key] / samples[key]
        medians = np.median(random.choice(ratios, (REPEATS, ROUNDS)), axis=1)
        return Ratio(value=float(np.median(ratios)), interval=middle(medians))

    parts = {key: latency(key) for key in ("decode", "resize", "run", "resize_back", "total")}
    return Speed(
        engine_only=latency("engine_only"),
        with_copies=latency("with_copies"),
        file_to_mask=Stages(**parts),
        engine_only_ratio=ratio("engine_only"),
        with_copies_ratio=ratio("with_copies"),
        file_to_mask_ratio=ratio("total"),
    )


def make_throughput(entry: Contestant, batch: int, callers: int, random: np.random.Generator) -> Throughput:
    call = entry.ms * batch * callers * (0.95 + random.gamma(2.0, 0.02, 30))
    rate = 1e3 * batch * callers / float(np.mean(call))
    return Throughput(batch=batch, callers=callers, images_per_second=rate, call=summarise(list(call), 1))


def make_start_up(entry: Contestant, random: np.random.Generator) -> StartUp:
    imports, first = (2.9, 0.21) if entry.backend == "torch" else (0.4, 0.002 * entry.ms)
    opening = 0.9 if entry.backend == "openvino" else 0.3
    samples = [imports + opening + first + float(extra) for extra in random.gamma(2.0, 0.02, 5)]
    total = float(np.median(samples))
    return StartUp(imports_s=imports, open_s=opening, first_mask_s=first, total_s=total, samples_s=samples)


def make_per_image(
    entry: Contestant, base: dict[str, Floats], has_truth: bool, random: np.random.Generator
) -> dict[str, list[float | None]]:
    values: dict[str, Floats] = {}
    for name, dice in base.items():
        lost = random.normal(entry.loss, entry.spread, IMAGES) if entry.spread else np.zeros(IMAGES)
        values[f"dice/{name}"] = (dice - lost).clip(0, 1)
        values[f"iou/{name}"] = values[f"dice/{name}"] / (2 - values[f"dice/{name}"])
        values[f"hd95/{name}"] = 25 * (1 - values[f"dice/{name}"])
        values[f"hd95/{name}"][::13] = np.inf if name == list(base)[-1] else values[f"hd95/{name}"][::13]
    means = {
        metric: np.mean([values[f"{metric}/{name}"] for name in base], axis=0) for metric in ("dice", "iou", "hd95")
    }
    changed = np.abs(random.normal(entry.loss, entry.spread / 4, IMAGES)) if entry.spread else np.zeros(IMAGES)
    agreement = {"agreement": 1 - changed, "band_agreement": 1 - 6 * changed}
    return {key: _numbers(value) for key, value in ((means | values | agreement) if has_truth else agreement).items()}


def _numbers(values: Floats) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def make_accuracy(
    values: dict[str, list[float | None]], reference: dict[str, list[float | None]], random: np.random.Generator
) -> Accuracy:
    summary = {}
    for key, numbers in values.items():
        known = [value for value in numbers if value is not None]
        change = [a - b for a, b in zip(numbers, reference[key], strict=True) if a is not None and b is not None]
        means = random.choice(change, (REPEATS, len(change))).mean(axis=1)
        summary[key] = MetricSummary(
            mean=float(np.mean(known)),
            images=len(known),
            left_out=len(numbers) - len(known),
            difference=float(np.mean(change)),
            difference_interval=middle(means),
        )
    return Accuracy(per_image=values, summary=summary)


def middle(values: Floats) -> Interval:
    low, high = (float(value) for value in np.percentile(values, [2.5, 97.5]))
    return Interval(low=low, high=high)
