"""A 16-bit model by evidence: the largest values on images decide what stays in fp32."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from segdino_deploy.engines.precision.cast import cast_model
from segdino_deploy.engines.precision.extremes import nearest_to_limit, observe_extremes


@dataclass(frozen=True)
class HalfModel:
    """A typed model with what the manifest says of it."""

    model: onnx.ModelProto
    kept: list[str]  # what stayed in fp32, with the reason
    largest_values: dict[str, float]  # of the fp32 model: the ten tensors nearest to the format's limit, largest |x|
    checked_on: str  # the images in words: "64 calibration images", "the canary"


def make_half_model(
    source: onnx.ModelProto, precision: str, batches: Iterable[NDArray[np.uint8]], checked_on: str
) -> HalfModel:
    """The fp32 model `source` in `precision` (`fp16` or `bf16`), but for what leaves its range on `batches`.

    `batches`: uint8 `[N, H, W, 3]`. Raises CheckFailed where a weight is outside the range, where a value of the fp32
    model is NaN or infinite, and where there is no batch.
    """
    extremes = observe_extremes(source, batches)
    model, kept = cast_model(source, precision, extremes, checked_on)
    return HalfModel(model, kept, nearest_to_limit(extremes), checked_on)
