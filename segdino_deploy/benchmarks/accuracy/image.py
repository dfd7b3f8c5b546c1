"""Every metric of one image, by its id in `metrics.METRICS`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.benchmarks.accuracy.agreement import band_agreement
from segdino_deploy.benchmarks.accuracy.distance import hd95
from segdino_deploy.benchmarks.accuracy.natural import ber, f_beta, mae, pixel_accuracy
from segdino_deploy.benchmarks.accuracy.overlap import dice, iou
from segdino_deploy.evidence import mask_agreement

Mask = NDArray[np.uint8]
Bool = NDArray[np.bool_]
Metrics = dict[str, float | None]  # None: infinite, or not defined for this image


def score_image(
    mask: Mask, truth: Mask, class_names: Sequence[str], probability: NDArray[np.floating] | None = None
) -> Metrics:
    """Metrics of one mask, uint8 `[H, W]`, against the truth at the same size.

    One class: foreground is 1, and `mae` is of its `probability`, `[H, W]`, 0 to 1, and left out where that is not
    known: of a mask it would be 1 - `accuracy`. Several: each class but 0, the background, as `dice/<class>`, and
    without a class the macro mean over them; of `hd95` over those where it is finite, image by image (`scores.score`
    takes each class's mean over the images first). A class that neither mask holds counts as found: Dice and IoU 1,
    HD95 0. Distances are in pixels of the masks given: at the model's size.
    ValueError for shapes that differ, and for a probability of several classes.
    """
    _require_shape(mask, truth)
    if len(class_names) == 1:
        return _of_one_class(mask == 1, truth == 1, probability)
    if probability is not None:
        raise ValueError("a probability is scored for one class only")
    return _of_classes(mask, truth, class_names)


def compare_image(mask: Mask, reference: Mask) -> Metrics:
    """`agreement` and `band_agreement` of uint8 masks `[H, W]`. ValueError for shapes that differ."""
    _require_shape(mask, reference)
    return {"agreement": mask_agreement(mask, reference), "band_agreement": band_agreement(mask, reference)}


def _of_one_class(predicted: Bool, truth: Bool, probability: NDArray[np.floating] | None) -> Metrics:
    if probability is not None:
        _require_shape(probability, truth)
    metrics: Metrics = {
        "dice": dice(predicted, truth),
        "iou": iou(predicted, truth),
        "hd95": _finite(hd95(predicted, truth)),
        "accuracy": pixel_accuracy(predicted, truth),
        "f_beta": f_beta(predicted, truth),
        "ber": ber(predicted, truth),
    }
    return metrics if probability is None else metrics | {"mae": _finite(mae(probability, truth))}


def _of_classes(mask: Mask, truth: Mask, class_names: Sequence[str]) -> Metrics:
    metrics: Metrics = {}
    for value, name in list(enumerate(class_names))[1:]:
        predicted, expected = mask == value, truth == value
        metrics[f"dice/{name}"] = dice(predicted, expected)
        metrics[f"iou/{name}"] = iou(predicted, expected)
        metrics[f"hd95/{name}"] = _finite(hd95(predicted, expected))
    macro: Metrics = {metric: _mean(metrics, metric) for metric in ("dice", "iou", "hd95")}
    return macro | metrics | {"accuracy": pixel_accuracy(mask, truth)}


def _mean(metrics: Metrics, metric: str) -> float | None:
    """Macro mean over the classes that have it."""
    values = [value for key, value in metrics.items() if key.startswith(f"{metric}/") and value is not None]
    return sum(values) / len(values) if values else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _require_shape(array: NDArray[np.generic], other: NDArray[np.generic]) -> None:
    if array.ndim != 2 or array.shape != other.shape:
        raise ValueError(f"two masks [H, W] of one size are compared, not {array.shape} and {other.shape}")
