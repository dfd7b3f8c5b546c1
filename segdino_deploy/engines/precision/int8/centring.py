"""Constants taken out of activations and put into the biases behind them, where nothing rounds them.

Outputs of LayerNorm: (x - c) W + (b + c W), with -c in the norm's own bias. Large DINO models have residual channels
that are huge and nearly the same for every token: behind the norm they are a constant, which would take the whole int8
range for itself. c is the middle of each channel's range.

Values of attention: rows of softmax sum to one, so P V = P (V - 1 c^T) + 1 c^T for any c.

With V' = V - c, c the mean of P V over calibration images, and W_proj c in the projection's bias, the function is the
same. But int8 probabilities do not sum to one (most of a thousand are below half a step and vanish), and that error is
multiplied by the mean of V: taking it out took a third off the pixels that change on the ViT-S MRI model at 512.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from segdino_deploy.engines.calibration.statistics import ChannelStatistics
from segdino_deploy.engines.lowering.attention import split_heads
from segdino_deploy.engines.lowering.graph import Pattern
from segdino_deploy.engines.precision.int8.edit import Edit
from segdino_deploy.engines.precision.int8.products import Product

Statistics = dict[str, ChannelStatistics]


@dataclass(frozen=True)
class ValuePath:
    """Where the values of one attention come from and go to."""

    values: str  # V, `[N, heads, tokens, d]`
    qkv: str  # name of the product that makes q, k and v side by side
    projection: Product  # of the attention's output


def find_value_paths(model: onnx.ModelProto, products: list[Product]) -> list[ValuePath]:
    """The attentions whose values are the last third of one product and whose output goes to one weight product."""
    pattern = Pattern(model)
    by_node = {product.node: product for product in products}
    found = []
    for product in products:
        node = next(n for n in model.graph.node if n.name == product.node) if product.kind == "values" else None
        view = split_heads(pattern, product.right) if node is not None else None
        if node is None or view is None:
            continue
        split = pattern.made_by(view[0], "Split")
        add = pattern.made_by(split.input[0], "Add") if split is not None and view[0] == split.output[-1] else None
        qkv = pattern.made_by(add.input[0], "MatMul") if add is not None else None
        turned = pattern.only_reader(node.output[0], "Transpose")
        merged = pattern.only_reader(turned.output[0], "Reshape") if turned is not None else None
        projection = pattern.only_reader(merged.output[0], "MatMul") if merged is not None else None
        if qkv is not None and projection is not None and projection.name in by_node and qkv.name in by_node:
            found.append(ValuePath(product.right, qkv.name, by_node[projection.name]))
    return found


def centre_values(model: onnx.ModelProto, paths: list[ValuePath], statistics: Statistics) -> onnx.ModelProto:
    """The same function with the values centred; `statistics` are brought up to date."""
    edit = Edit(model)
    for path in paths:
        to_qkv, to_projection = edit.bias_add(path.qkv), edit.bias_add(path.projection.node)
        weight = edit.constant(path.projection.weight)
        if to_qkv is None or to_projection is None or weight is None:
            continue
        mean = statistics[path.projection.activation].mean  # [D]
        _add_to_bias(edit, to_qkv, np.concatenate([np.zeros(2 * len(mean)), -mean]))
        _add_to_bias(edit, to_projection, mean @ weight.astype(np.float64))
        for tensor in (path.values, path.projection.activation):
            statistics[tensor] = statistics[tensor].mapped(mean, 1.0)
    return edit.finish()


def centre_norms(
    model: onnx.ModelProto, norms: Mapping[str, Sequence[Product]], statistics: Statistics
) -> onnx.ModelProto:
    """The same function with the outputs of LayerNorms centred; `statistics` are brought up to date.

    `norms`: name of the node -> the products that read it, all of its readers. Left as it is where one has no bias.
    """
    edit = Edit(model)
    for norm, products in norms.items():
        places = [edit.bias_add(product.node) for product in products]
        weights = [edit.constant(product.weight) for product in products]
        own_bias = edit.constant(edit.node[norm].input[2]) if len(edit.node[norm].input) > 2 else None
        if own_bias is None or None in places or any(weight is None for weight in weights):
            continue
        seen = statistics[products[0].activation]
        middle = (seen.low + seen.high) / 2  # [D]
        edit.set_operand(norm, 2, (own_bias.astype(np.float64) - middle).astype(np.float32), "centred")
        for place, weight in zip(places, weights, strict=True):
            assert place is not None and weight is not None
            _add_to_bias(edit, place, middle @ weight.astype(np.float64))
        statistics[products[0].activation] = seen.mapped(middle, 1.0)
    return edit.finish()


def _add_to_bias(edit: Edit, place: tuple[onnx.NodeProto, int], shift: NDArray[np.float64]) -> None:
    node, index = place
    bias = edit.constant(node.input[index])
    assert bias is not None
    edit.set_operand(node.name, index, (bias.astype(np.float64) + shift).astype(np.float32), "centred")
