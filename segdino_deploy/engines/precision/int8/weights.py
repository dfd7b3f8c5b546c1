"""int8 weights: symmetric per output channel, clipped where that loses less; the bias that makes up for rounding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

INT8_MAX = 127
CLIP_RATIOS = np.linspace(1.0, 0.6, 17)

Float = NDArray[np.float32]


def quantize_weight(
    weight: Float, axis: int, energy: NDArray[np.floating] | None = None
) -> tuple[NDArray[np.int8], Float]:
    """int8 values and float32 scales `[channels]`, symmetric per channel of `axis`. A channel of zeros has scale 1.

    `energy`: mean square of each input channel, `[in]`. Where given, each output channel is clipped at the share of
    its maximum that minimises sum_i energy_i (w_i - q(w_i))^2, the expected square of the product's error. A depthwise
    kernel `[channels, 1, k, k]` reads one channel each, so that its energy is the same for all taps.
    """
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1).astype(np.float64)  # [channels, rest]
    largest = np.abs(rows).max(axis=1)
    largest[largest == 0] = INT8_MAX
    scale = largest / INT8_MAX
    if energy is not None:
        per_weight = np.ones(1) if is_depthwise(weight) else _of_taps(energy, rows.shape[1])
        best = np.full(len(rows), np.inf)
        for ratio in CLIP_RATIOS:
            candidate = largest * ratio / INT8_MAX
            error = (per_weight * (rows - _round_trip(rows, candidate)) ** 2).sum(axis=1)
            scale = np.where(error < best, candidate, scale)
            best = np.minimum(error, best)
    values = np.clip(np.rint(rows / scale[:, None].astype(np.float32)), -INT8_MAX, INT8_MAX).astype(np.int8)
    shape = np.moveaxis(weight, axis, 0).shape
    return np.ascontiguousarray(np.moveaxis(values.reshape(shape), 0, axis)), scale.astype(np.float32)


def dequantize_weight(values: NDArray[np.int8], scale: Float, axis: int) -> Float:
    """The weight that a backend computes with."""
    shape = [-1 if i == axis else 1 for i in range(values.ndim)]
    return np.asarray(values.astype(np.float32) * scale.reshape(shape))


def bias_correction(weight: Float, rounded: Float, axis: int, mean: NDArray[np.floating]) -> NDArray[np.float64]:
    """What rounding the weights takes from the product on average, `[channels]`: sum_i mean_i (w_i - q(w_i)).

    `mean` `[in]`: of each input channel over the calibration images (Nagel et al., arXiv 1906.04721, section 4.2, with
    measured means). Padding is taken as if it held the mean, too. A depthwise kernel reads the mean of its own channel.
    """
    rows = np.moveaxis(weight.astype(np.float64) - rounded, axis, 0).reshape(weight.shape[axis], -1)
    result: NDArray[np.float64] = (
        rows.sum(axis=1) * mean if is_depthwise(weight) else rows @ _of_taps(mean, rows.shape[1])
    )
    return result


def is_depthwise(weight: Float) -> bool:
    """Whether a kernel `[out, in / group, kh, kw]` reads one channel each (of one input channel: both are the same)."""
    return weight.ndim == 4 and weight.shape[1] == 1


def _of_taps(per_channel: NDArray[np.floating], length: int) -> NDArray[np.float64]:
    """A value of each input channel, repeated for every tap of a kernel."""
    return np.repeat(per_channel, length // len(per_channel)).astype(np.float64)


def _round_trip(rows: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    step = scale[:, None]
    result: NDArray[np.float64] = np.clip(np.rint(rows / step), -INT8_MAX, INT8_MAX) * step
    return result
