"""How much a graph computes: nodes and multiply-adds per stage, read from the ONNX graph itself."""

from __future__ import annotations

import math
from collections import Counter

import onnx
from onnx import helper

from segdino_deploy.manifest import StageCount

Shapes = dict[str, list[int]]


def stage_of(node_name: str) -> str:
    """`backbone`, `head`, `head <name>` or `output`, from a node's name, which starts with its module's path."""
    scope = node_name.split("/")[0].removeprefix("model.").split(".")
    if scope[0].startswith("head_"):
        return f"head {scope[0].removeprefix('head_')}"
    return scope[0] if scope[0] in ("backbone", "head") else "output"


def count_stages(model: onnx.ModelProto) -> dict[str, StageCount]:
    """Nodes and multiply-adds of one image per stage, in graph order."""
    shapes = infer_shapes(model)
    nodes: Counter[str] = Counter()
    multiply_adds: Counter[str] = Counter()
    for node in model.graph.node:
        stage = stage_of(node.name)
        nodes[stage] += 1
        multiply_adds[stage] += count_multiply_adds(node, shapes)
    return {stage: StageCount(operations=nodes[stage], multiply_adds=multiply_adds[stage]) for stage in nodes}


def infer_shapes(model: onnx.ModelProto) -> Shapes:
    """Dimensions of every value; symbolic ones (the batch) as 1."""
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in [*graph.input, *graph.output, *graph.value_info]:
        shapes[value.name] = [max(1, dim.dim_value) for dim in value.type.tensor_type.shape.dim]
    return shapes


def count_multiply_adds(node: onnx.NodeProto, shapes: Shapes) -> int:
    """Multiply-adds of a product or a convolution; 0 for everything else.

    MatMul: output size x inner dimension. Conv: output size x in / group x kernel. ConvTranspose: input size x out /
    group x kernel.
    """
    if node.op_type not in ("MatMul", "Gemm", "Conv", "ConvTranspose") or node.output[0] not in shapes:
        return 0
    out = math.prod(shapes[node.output[0]])
    if node.op_type == "MatMul":
        return out * shapes[node.input[0]][-1]
    weight = shapes[node.input[1]]
    if node.op_type == "Conv":
        return out * math.prod(weight[1:])  # [out, in / group, kh, kw]
    if node.op_type == "ConvTranspose":
        return math.prod(shapes[node.input[0]]) * math.prod(weight[1:])  # [in, out / group, kh, kw]
    transposed = any(a.name == "transA" and helper.get_attribute_value(a) for a in node.attribute)
    return out * shapes[node.input[0]][0 if transposed else -1]
