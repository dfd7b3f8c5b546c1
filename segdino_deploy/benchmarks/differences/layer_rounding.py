"""A 16-bit model written in float32: what it computes, where kernels for its types are missing."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from segdino_deploy.export.graph import copy_of, value_types

HALF = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def in_float32(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every 16-bit value is computed in float32 and rounded to its own type, under its own name.

    ONNX Runtime has no CPU kernels for bf16, and computes fp16 in float32, dropping the rounding between two such nodes
    where it can: what it gives then depends on what else is asked for. Here each value is rounded once, as the file
    says. `model` itself where nothing is in 16 bits.
    """
    types = value_types(model)
    half = {name: elem_type for name, elem_type in types.items() if elem_type in HALF}
    if not half:
        return model
    result = copy_of(model)
    graph = result.graph
    constants = [_widened(tensor) for tensor in model.graph.initializer]
    nodes = [new for node in model.graph.node for new in _rounded(node, half)]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
    return result


def _rounded(original: onnx.NodeProto, half: dict[str, int]) -> list[onnx.NodeProto]:
    """The node in float32, and two casts behind each of its 16-bit outputs."""
    node = onnx.NodeProto.FromString(original.SerializeToString())
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i in HALF:
            attribute.i = TensorProto.FLOAT
        if attribute.type == onnx.AttributeProto.TENSOR:
            attribute.t.CopyFrom(_widened(attribute.t))
    casts = []
    for index, name in enumerate(original.output):
        if name in half:
            node.output[index] = f"{name}.exact"
            casts.append(helper.make_node("Cast", [f"{name}.exact"], [f"{name}.rounded"], to=half[name]))
            casts.append(helper.make_node("Cast", [f"{name}.rounded"], [name], to=TensorProto.FLOAT))
    return [node, *casts]


def _widened(tensor: onnx.TensorProto) -> onnx.TensorProto:
    if tensor.data_type not in HALF:
        return tensor
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
