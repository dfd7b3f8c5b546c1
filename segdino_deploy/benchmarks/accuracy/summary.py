"""From metrics per image to their means, and to what changed against the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.benchmarks.result import MetricSummary
from segdino_deploy.benchmarks.statistics import interval_of_mean

PerImage = Mapping[str, Sequence[float | None]]  # by metric; None: infinite or not defined


def summarise_accuracy(per_image: PerImage, reference: PerImage, seed: int = 0) -> dict[str, MetricSummary]:
    """Every metric of `per_image`, and its difference to the same metric of `reference` where that has it.

    Both lists of a metric are of the same images in the same order. ValueError where they differ in length.
    """
    return {key: _summarise(values, reference.get(key), seed) for key, values in per_image.items()}


def differences(values: Sequence[float | None], reference: Sequence[float | None]) -> NDArray[np.float64]:
    """`values` minus `reference` for the images where both are finite, in order. ValueError: of unequal length."""
    if len(values) != len(reference):
        raise ValueError(f"{len(values)} and {len(reference)} images cannot be paired")
    change = _array(values) - _array(reference)
    return change[np.isfinite(change)]


def _summarise(values: Sequence[float | None], reference: Sequence[float | None] | None, seed: int) -> MetricSummary:
    array = _array(values)
    finite = array[np.isfinite(array)]
    change = differences(values, reference) if reference is not None else np.empty(0)
    return MetricSummary(
        mean=float(finite.mean()) if finite.size else None,
        images=finite.size,
        left_out=array.size - finite.size,
        difference=float(change.mean()) if change.size else None,
        difference_interval=interval_of_mean(change, seed) if change.size else None,
    )


def _array(values: Sequence[float | None]) -> NDArray[np.float64]:
    """With NaN for what is not known; infinite values count as not known as well."""
    array = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    array[~np.isfinite(array)] = np.nan
    return array
