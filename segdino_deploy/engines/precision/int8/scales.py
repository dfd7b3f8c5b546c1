"""Scale and zero point of an activation from the range that calibration saw."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.errors import CheckFailed

Range = tuple[float, float]  # smallest and largest value
Grid = Literal["int8", "uint8", "probability"]  # symmetric; asymmetric; from 0 to at most 1


def scale_and_zero(seen: Range, grid: Grid, tensor: str) -> tuple[np.float32, np.int8 | np.uint8]:
    """int8: max(|low|, |high|) / 127 and 0. uint8: (high - low) / 255, with 0 inside the range and on the grid.

    Probabilities: high / 255 and 0, unsigned. CheckFailed, naming the tensor, where the range is empty or not finite.
    """
    low, high = min(seen[0], 0.0), max(seen[1], 0.0)
    if not (math.isfinite(low) and math.isfinite(high)) or high == low:
        raise CheckFailed(f"calibration saw the range {seen[0]} to {seen[1]} at {tensor}: other images are needed")
    if grid == "int8":
        return np.float32(max(-low, high) / 127), np.int8(0)
    if grid == "probability":
        return np.float32(high / 255), np.uint8(0)
    scale = (high - low) / 255
    return np.float32(scale), np.uint8(round(-low / scale))


def channel_scales(
    low: NDArray[np.floating], high: NDArray[np.floating], tensor: str
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Scale and zero point of every channel, `[C]`, by the uint8 formula; 1 and 0 for a channel of zeros."""
    scale_and_zero((float(low.min()), float(high.max())), "uint8", tensor)  # a tensor of zeros is an error
    pairs = [
        (np.float32(1), np.uint8(0)) if a == b == 0 else scale_and_zero((float(a), float(b)), "uint8", tensor)
        for a, b in zip(low, high, strict=True)
    ]
    return np.array([scale for scale, _ in pairs], np.float32), np.array([zero for _, zero in pairs], np.uint8)


def activation_round_trip(x: NDArray[np.float32], seen: Range, grid: Grid) -> NDArray[np.float32]:
    """What is left of values after quantizing and dequantizing them."""
    scale, zero = scale_and_zero(seen, grid, "a sample")
    bottom, top = (-127, 127) if grid == "int8" else (0, 255)
    steps = np.clip(np.rint(x / scale) + np.float32(zero), bottom, top) - np.float32(zero)
    return np.asarray(steps * scale, np.float32)
