"""Q/DQ pairs at the products of a plan.

Weights per output channel, stored as int8; one pair per activation tensor, shared by all products that read it; no
Q/DQ on biases (TensorRT refuses them), residual additions, normalisations or softmax, nor on any product's output.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from segdino_deploy.engines.precision.int8.products import Product
from segdino_deploy.engines.precision.int8.scales import Grid, Range, scale_and_zero
from segdino_deploy.engines.precision.int8.targets import Activations
from segdino_deploy.engines.precision.int8.weights import bias_correction, dequantize_weight, quantize_weight
from segdino_deploy.export.graph import copy_of

Vector = NDArray[np.floating]
QuantizedWeight = tuple[NDArray[np.int8], NDArray[np.float32]]  # values and scales


def insert_qdq(
    model: onnx.ModelProto,
    products: Collection[Product],
    ranges: Mapping[str, Range],
    activations: Activations = "int8",
    *,
    energy: Mapping[str, Vector] | None = None,
    means: Mapping[str, Vector] | None = None,
    known: dict[str, QuantizedWeight] | None = None,
) -> onnx.ModelProto:
    """A copy of an fp32 model with Q/DQ at the given products.

    `ranges`: of every activation. `energy` and `means`: mean square and mean of each input channel by activation
    tensor; where given, weights are clipped by expected error and biases make up for what rounding takes on average.
    `known`: weights quantized before, by name; new ones are added to it.
    """
    weights = {} if known is None else known
    return _Inserter(model, products, ranges, activations, energy or {}, means or {}, weights).run()


class _Inserter:
    def __init__(
        self,
        model: onnx.ModelProto,
        products: Collection[Product],
        ranges: Mapping[str, Range],
        activations: Activations,
        energy: Mapping[str, Vector],
        means: Mapping[str, Vector],
        known: dict[str, QuantizedWeight],
    ) -> None:
        self.known = known
        self.model, self.ranges, self.activations, self.energy, self.means = model, ranges, activations, energy, means
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
            pair = [self._add(f"{stem}.scale", np.array(scale)), self._add(f"{stem}.zero", np.array(zero))]
            self.nodes.append(helper.make_node("QuantizeLinear", [name, *pair], [f"{stem}.q"], f"quantize/{stem}"))
            self._dequantize(stem, [f"{stem}.q", *pair])
        return self.dequantized[stem]

    def _weight(self, node: onnx.NodeProto, product: Product) -> str:
        weight = numpy_helper.to_array(self.constants[product.weight])
        if product.weight not in self.dequantized:
            axis = product.channel_axis
            if product.weight not in self.known:
                self.known[product.weight] = quantize_weight(weight, axis, self.energy.get(product.activation))
            values, scale = self.known[product.weight]
            arrays: dict[str, NDArray[Any]] = {"q": values, "scale": scale, "zero": np.zeros(len(scale), np.int8)}
            operands = [self._add(f"{product.weight}.{suffix}", array) for suffix, array in arrays.items()]
            self._dequantize(product.weight, operands, axis=axis)
            if product.activation in self.means:
                rounded = dequantize_weight(values, scale, axis)
                correction = bias_correction(weight, rounded, axis, self.means[product.activation])
                self.corrections[node.output[0]] = correction
        return self.dequantized[product.weight]

    def _dequantize(self, stem: str, operands: list[str], **attributes: Any) -> None:
        self.nodes.append(
            helper.make_node("DequantizeLinear", operands, [f"{stem}.dq"], f"dequantize/{stem}", **attributes)
        )
        self.dequantized[stem] = f"{stem}.dq"

    def _correct_bias(self, node: onnx.NodeProto, product: Product | None) -> None:
        """Adds the correction to a bias that is there: a product without one gets none."""
        if product is not None and product.is_convolution and len(node.input) > 2:
            made, index = node.output[0], 2
        elif node.op_type == "Add":
            made = next((name for name in node.input if name in self.corrections), "")
            index = next((i for i, name in enumerate(node.input) if name in self.constants), -1)
        else:
            return
        correction = self.corrections.get(made)
        if correction is None or index < 0:
            return
        bias = numpy_helper.to_array(self.constants[node.input[index]])
        if bias.shape == correction.shape:
            node.input[index] = self._add(f"{node.name}.bias.corrected", (bias + correction).astype(np.float32))

    def _add(self, name: str, array: NDArray[np.generic]) -> str:
        self.added.append(numpy_helper.from_array(array, name))
        return name
