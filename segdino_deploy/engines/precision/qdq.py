"""int8 as explicit Q/DQ pairs on the weight products.

Symmetric, zero points zero; weights per output channel, stored as int8; one pair per activation tensor, shared by all
products that read it; no Q/DQ on biases (TensorRT refuses them), residual additions, normalisations, softmax or the
attention products. The first convolution and the last products of each head stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from segdino_deploy.errors import CheckFailed
from segdino_deploy.export.graph import INPUT, copy_of, is_resizing_matrix, logits_of_heads

INT8_MAX = 127

Range = tuple[float, float]  # smallest and largest value seen


@dataclass(frozen=True)
class Product:
    """One quantizable product of a graph."""

    node: str
    activation: str  # the tensor to quantize
    weight: str  # its constant operand
    channel_axis: int  # of the weight: the output channels


def find_products(model: onnx.ModelProto) -> list[Product]:
    """Weight products in graph order: MatMul with a constant matrix, ordinary Conv; not the first, not the last ones.

    Depthwise and transposed convolutions are left: few operations, many channels with ranges of their own. Left too
    are resizing matrices, and products with the weight on the left, which CPUs run in float anyway.
    """
    weights = weight_ranks(model)
    pixels = _reached_without_products(model)
    last = {name for logits in logits_of_heads(model) for name in _last_products(model, weights, logits)}
    products = []
    for node in model.graph.node:
        if len(node.input) < 2 or node.name in last:
            continue
        weight = node.input[1]
        if node.op_type == "MatMul" and weights.get(weight) == 2:
            products.append(Product(node.name, node.input[0], weight, channel_axis=1))
        elif node.op_type == "Conv" and weight in weights and _group(node) == 1 and node.input[0] not in pixels:
            products.append(Product(node.name, node.input[0], weight, channel_axis=0))
    return products


def weight_ranks(model: onnx.ModelProto) -> dict[str, int]:
    """Number of dimensions of every constant that may be a weight: resizing matrices are none."""
    constants = model.graph.initializer
    return {tensor.name: len(tensor.dims) for tensor in constants if not is_resizing_matrix(tensor.name)}


def _group(node: onnx.NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)


def _reached_without_products(model: onnx.ModelProto) -> set[str]:
    """The input image and its casts and transpositions."""
    reached = {INPUT}
    for node in model.graph.node:
        if node.op_type in ("Cast", "Transpose") and node.input[0] in reached:
            reached.update(node.output)
    return reached


def _last_products(model: onnx.ModelProto, weights: Mapping[str, int], logits: str) -> set[str]:
    """Names of the weight products that a head's logits are made of: the first one on every path back from them."""
    producer = {name: node for node in model.graph.node for name in node.output}
    found: set[str] = set()
    frontier = [logits]
    while frontier:
        node = producer.get(frontier.pop())
        if node is None:
            continue
        if node.op_type in ("Conv", "MatMul", "Gemm") and any(operand in weights for operand in node.input):
            found.add(str(node.name))
        else:
            frontier.extend(node.input)
    return found


def activation_scale(seen: Range, tensor: str) -> float:
    """max(|min|, |max|) / 127. CheckFailed, naming the tensor, where the range is empty or not finite."""
    largest = max(abs(seen[0]), abs(seen[1]))
    if not math.isfinite(largest) or largest == 0:
        raise CheckFailed(f"calibration saw the range {seen[0]} to {seen[1]} at {tensor}: other images are needed")
    return largest / INT8_MAX


def quantize_weight(weight: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """int8 values and float32 scales `[channels]`, symmetric per channel of `axis`. A channel of zeros has scale 1."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    largest = np.abs(weight).max(axis=others)
    scale = np.where(largest > 0, largest / INT8_MAX, 1).astype(np.float32)
    shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
    values = np.clip(np.rint(weight / scale.reshape(shape)), -INT8_MAX, INT8_MAX).astype(np.int8)
    return values, scale


def insert_qdq(model: onnx.ModelProto, ranges: Mapping[str, Range]) -> onnx.ModelProto:
    """A copy of an fp32 model with Q/DQ at every product of `find_products`.

    `ranges`: smallest and largest value of each product's activation tensor over the calibration images.
    """
    result = copy_of(model)
    graph = result.graph
    products = {product.node: product for product in find_products(model)}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    dequantized: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    added: list[onnx.TensorProto] = [numpy_helper.from_array(np.array(0, np.int8), "int8_zero")]

    def quantized_activation(name: str) -> str:
        if name not in dequantized:
            scale = np.array(activation_scale(ranges[name], name), np.float32)
            added.append(numpy_helper.from_array(scale, f"{name}.scale"))
            pair = [f"{name}.scale", "int8_zero"]
            nodes.append(helper.make_node("QuantizeLinear", [name, *pair], [f"{name}.q"], f"quantize/{name}"))
            nodes.append(
                helper.make_node("DequantizeLinear", [f"{name}.q", *pair], [f"{name}.dq"], f"dequantize/{name}")
            )
            dequantized[name] = f"{name}.dq"
        return dequantized[name]

    def quantized_weight(name: str, axis: int) -> str:
        if name not in dequantized:
            values, scale = quantize_weight(numpy_helper.to_array(constants[name]), axis)
            zeros = np.zeros(len(scale), np.int8)
            for array, suffix in ((values, "q"), (scale, "scale"), (zeros, "zero")):
                added.append(numpy_helper.from_array(array, f"{name}.{suffix}"))
            operands = [f"{name}.q", f"{name}.scale", f"{name}.zero"]
            nodes.append(
                helper.make_node("DequantizeLinear", operands, [f"{name}.dq"], f"dequantize/{name}", axis=axis)
            )
            dequantized[name] = f"{name}.dq"
        return dequantized[name]

    for original in model.graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        if product := products.get(node.name):
            node.input[0] = quantized_activation(product.activation)
            node.input[1] = quantized_weight(product.weight, product.channel_axis)
        nodes.append(node)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in [*constants.values(), *added] if tensor.name in used]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    onnx.checker.check_model(result, full_check=True)
    return result
