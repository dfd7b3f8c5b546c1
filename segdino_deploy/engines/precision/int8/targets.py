"""What int8 means on each backend: the type of activations, and which products are worth quantizing there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Activations = Literal["int8", "uint8"]
Kind = Literal["weight", "depthwise", "scores", "values"]  # of a product: weights (dense, depthwise), Q K^T, P V


@dataclass(frozen=True)
class Int8Target:
    """How a typed int8 model is written for a backend.

    TensorRT wants symmetric int8, and its fused attention above 512 tokens wants unquantized products. x86 CPUs are
    faster with unsigned activations (VNNI multiplies u8 by s8), whose zero point also halves the step of one-sided
    tensors such as GELU's. On OpenVINO Q K^T and P V are candidates too, and depthwise convolutions, whose int8 kernel
    moves a quarter of the bytes.
    """

    key: str  # of the typed model in the manifest, and in its file name: one file may serve several backends
    activations: Activations
    kinds: tuple[Kind, ...]
    channels_last: bool = False  # T1 with channels last: its maps become quantizable products


_TENSORRT = Int8Target("int8", "int8", ("weight",))

TARGETS: dict[str, Int8Target] = {
    "tensorrt": _TENSORRT,
    "tensorrt-rtx": _TENSORRT,
    "openvino": Int8Target("int8-openvino", "uint8", ("weight", "depthwise", "scores", "values"), channels_last=True),
    "onnxruntime": Int8Target("int8-onnxruntime", "uint8", ("weight",)),
}
