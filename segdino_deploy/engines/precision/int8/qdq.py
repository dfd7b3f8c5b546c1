"""Q/DQ pairs at the products of a plan.

Weights per output channel, stored as int8; one pair per activation tensor, shared by all products that read it, and one
with a scale per channel for depthwise convolutions; no Q/DQ on biases (TensorRT refuses them), residual additions,
normalisations or softmax, nor on any product's output.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from segdino_deploy.engines.precision.int8.centring import Statistics
from segdino_deploy.engines.precision.int8.products import Product
from segdino_deploy.engines.precision.int8.scales import Grid, Range, channel_scales, scale_and_zero
from segdino_deploy.engines.precision.int8.targets import Activations
from segdino_deploy.engines.precision.int8.weights import bias_correction, dequantize_weight, quantize_weight
from segdino_deploy.export.graph import copy_of

QuantizedWeight = tuple[NDArray[np.int8], NDArray[np.float32]]  # values and scales


def insert_qdq(
    model: onnx.ModelProto,
    products: Collection[Product],
    ranges: Mapping[str, Range],
    activations: Activations = "int8",
    *,
    statistics: Statistics | None = None,
    known: dict[str, QuantizedWeight] | None = None,
) -> onnx.ModelProto:
    """A copy of an fp32 model with Q/DQ at the given products.

    `ranges`: of every activation, but of depthwise products. `statistics`: of each channel by activation tensor; where
    given, weights are clipped by expected error and biases make up for what rounding takes on average. Depthwise
    products need them: each of their input channels has a scale of its own. `known`: weights quantized before, by name;
    new ones are added to it.
    """
    weights = {} if known is None else known
    return _Inserter(model, products, ranges, activations, statistics or {}, weights).run()


class _Inserter:
    def __init__(
        self,
        model: onnx.ModelProto,
        products: Collection[Product],
        ranges: Mapping[str, Range],
        activations: Activations,
        statistics: Statistics,
        known: dict[str, QuantizedWeight],
    ) -> None:
        self.known = known
        self.model, self.ranges, self.activations, self.statistics = model, ranges, activations, statistics
        self.products = {product.node: product for product in products}
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.nodes: list[onnx.NodeProto] = []
        self.added: list[onnx.TensorProto] = []
        self.dequantized: dict[str, str] = {}
        self.corrections: dict[str, NDArray[np.float64]] = {}  # by the product's output

    def run(self) -> onnx.ModelProto:
        for original in self.model.graph.node:
            node = onnx.NodeProto.FromString(original.SerializeToString())
            product = self.products.get(node.name)
            if product is not None and product.kind == "weight":
                node.input[0] = self._activation(product.activation, self.activations)
                node.input[1] = self._weight(node, product)
            elif product is not None and product.kind == "depthwise":
                node.input[0] = self._channels(product.activation)
                node.input[1] = self._weight(node, product)
            elif product is not None:
                left: Grid = "probability" if product.kind == "values" else "int8"
                node.input[0] = self._activation(product.activation, left)
                node.input[1] = self._activation(product.right, "int8")
            self._correct_bias(node, product)
            self.nodes.append(node)
        result = copy_of(self.model)
        graph = result.graph
        used = {name for node in self.nodes for name in node.input}
        kept = [tensor for tensor in [*self.constants.values(), *self.added] if tensor.name in used]
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(kept)
        onnx.checker.check_model(result, full_check=True)
        return result

    def _activation(self, name: str, grid: Grid) -> str:
        stem = name if grid == "int8" else f"{name}.{grid}"
        if stem not in self.dequantized:
            scale, zero = scale_and_zero(self.ranges[name], grid, name)
            self._quantize(name, stem, np.array(scale), np.array(zero))
        return self.dequantized[stem]

    def _channels(self, name: str) -> str:
        """A depthwise convolution mixes no channels, so each may have its own scale: x's of `[N, C, H, W]`."""
        stem = f"{name}.channels"
        if stem not in self.dequantized:
            seen = self.statistics[name]
            self._quantize(name, stem, *channel_scales(seen.low, seen.high, name), axis=1)
        return self.dequantized[stem]

    def _quantize(self, name: str, stem: str, scale: NDArray[Any], zero: NDArray[Any], **attributes: Any) -> None:
        pair = [self._add(f"{stem}.scale", scale), self._add(f"{stem}.zero", zero)]
        self.nodes.append(
            helper.make_node("QuantizeLinear", [name, *pair], [f"{stem}.q"], f"quantize/{stem}", **attributes)
        )
        self._dequantize(stem, [f"{stem}.q", *pair], **attributes)

    def _weight(self, node: onnx.NodeProto, product: Product) -> str:
        weight = numpy_helper.to_array(self.constants[product.weight])
        seen = self.statistics.get(product.activation)
        if product.weight not in self.dequantized:
            axis = product.channel_axis
            if product.weight not in self.known:
                self.known[product.weight] = quantize_weight(weight, axis, None if seen is None else seen.energy)
            values, scale = self.known[product.weight]
            arrays: dict[str, NDArray[Any]] = {"q": values, "scale": scale, "zero": np.zeros(len(scale), np.int8)}
            operands = [self._add(f"{product.weight}.{suffix}", array) for suffix, array in arrays.items()]
            self._dequantize(product.weight, operands, axis=axis)
        if seen is not None:
            rounded = dequantize_weight(*self.known[product.weight], product.channel_axis)
            self.corrections[node.output[0]] = bias_correction(weight, rounded, product.channel_axis, seen.mean)
        return self.dequantized[product.weight]

    def _dequantize(self, stem: str, operands: list[str], **attributes: Any) -> None:
        self.nodes.append(
            helper.make_node("DequantizeLinear", operands, [f"{stem}.dq"], f"dequantize/{stem}", **attributes)
        )
        self.dequantized[stem] = f"{stem}.dq"

    def _correct_bias(self, node: onnx.NodeProto, product: Product | None) -> None:
        """Adds the correction to the bias; a matrix product without one gets none.

        A convolution without one gets it as its bias, which also keeps its scales inside it: where the next node is a
        mean, OpenVINO would else take them past that and give them a pass over the map.
        """
        if product is not None and product.is_convolution:
            made, index = node.output[0], 2
            if len(node.input) == 2 and made in self.corrections:
                node.input.append(self._add(f"{node.name}.bias", self.corrections[made].astype(np.float32)))
                return
        elif node.op_type == "Add":
            made = next((name for name in node.input if name in self.corrections), "")
            index = next((i for i, name in enumerate(node.input) if name in self.constants), -1)
        else:
            return
        correction = self.corrections.get(made)
        if correction is None or not 0 <= index < len(node.input):
            return
        bias = numpy_helper.to_array(self.constants[node.input[index]])
        if bias.shape == correction.shape:
            node.input[index] = self._add(f"{node.name}.bias.corrected", (bias + correction).astype(np.float32))

    def _add(self, name: str, array: NDArray[np.generic]) -> str:
        self.added.append(numpy_helper.from_array(array, name))
        return name
