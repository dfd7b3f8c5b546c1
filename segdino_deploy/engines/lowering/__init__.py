"""One function, several spellings: nodes that a backend runs faster, chosen when an engine is built.

A new spelling is one function (model to rewritten copy, or None where it does not apply) and one line in `LOWERINGS`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import onnx

from segdino_deploy.engines.lowering.attention import (
    attention_operator,
    onnxruntime_attention,
    rotary_operator,
    split_qkv,
    tensorrt_attention,
)
from segdino_deploy.engines.lowering.elementwise import final_resize_as_products, gelu_by_erf
from segdino_deploy.engines.lowering.group_norm import group_norm_as_layer_norm, group_norm_by_moments
from segdino_deploy.engines.lowering.tap_norms import tap_norms_as_one

CPU = ("openvino", "onnxruntime")
TENSORRT = ("tensorrt", "tensorrt-rtx")
TENSORRT_SOFTMAX = "the softmax's type is left to TensorRT's fused kernel"
FEWER_KERNELS = "taken for fewer kernels, not for a measured time"


@dataclass(frozen=True)
class Lowering:
    name: str
    part: str  # of the graph: at most one spelling of a part is taken
    rewrite: Callable[[onnx.ModelProto], onnx.ModelProto | None]
    backends: tuple[str, ...]
    note: str = ""  # what changes with it
    is_taken_unmeasured: bool = False  # by `auto` where the backend cannot run: the same work with fewer kernels


LOWERINGS: dict[str, Lowering] = {
    lowering.name: lowering
    for lowering in (
        Lowering("split-qkv", "qkv", split_qkv, (*CPU, *TENSORRT)),
        Lowering("attention-operator", "attention", attention_operator, CPU),
        Lowering("attention-tensorrt", "attention", tensorrt_attention, TENSORRT, TENSORRT_SOFTMAX),
        Lowering("attention-onnxruntime", "attention", onnxruntime_attention, ("onnxruntime",)),
        Lowering("rotary-operator", "rope", rotary_operator, (*CPU, *TENSORRT)),
        Lowering("group-norm-layer-norm", "group norm", group_norm_as_layer_norm, (*CPU, *TENSORRT)),
        Lowering("group-norm-moments", "group norm", group_norm_by_moments, CPU),
        Lowering("gelu-erf", "gelu", gelu_by_erf, (*CPU, *TENSORRT)),
        Lowering("resize-products", "final resize", final_resize_as_products, (*CPU, *TENSORRT)),
        Lowering("tap-norms-as-one", "tap norms", tap_norms_as_one, TENSORRT, FEWER_KERNELS, is_taken_unmeasured=True),
    )
}


def respell(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """The model with the spellings that a former build chose, in that order; the same one where there are none."""
    for name in names:
        lowered = LOWERINGS[name].rewrite(model) if name in LOWERINGS else None
        model = model if lowered is None else lowered
    return model


__all__ = ["LOWERINGS", "Lowering", "respell"]
