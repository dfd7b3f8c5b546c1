"""Which values of a graph are compared layer by layer, and each layer as a graph of its own."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper

from segdino_deploy.engines.lowering.graph import Pattern
from segdino_deploy.export.graph import INPUT, WEIGHT_PRODUCTS
from segdino_deploy.export.operations import infer_shapes

# Operators that compute something; the others (Reshape, Transpose, Concat, Cast, Q/DQ ...) only move or spell values.
COMPUTING = frozenset(
    {
        *WEIGHT_PRODUCTS,
        *("LayerNormalization", "InstanceNormalization", "GroupNormalization", "BatchNormalization"),
        *("Softmax", "Sigmoid", "Gelu", "Erf", "Relu", "Tanh"),
        *("Add", "Sub", "Mul", "Div", "Resize"),
    }
)


@dataclass(frozen=True)
class Layer:
    """One value that is compared."""

    value: str  # name of the tensor in both graphs
    name: str  # of the node in the reference, a product's where a bias is added to it
    operator: str
    size: int  # numbers in the value for one image; 0: not known


def find_layers(reference: onnx.ModelProto) -> list[Layer]:
    """The float32 values that nodes compute, in graph order.

    A product and the constant that is added to it are one layer (int8 models move constants from one to the other),
    and so are a product with a constant, elementwise, and the sum that alone reads it (the rotation of RoPE, scale and
    bias of a norm).
    """
    pattern = Pattern(reference)
    shapes = infer_shapes(reference)
    found = []
    for node in reference.graph.node:
        value = node.output[0]
        if node.op_type not in COMPUTING or pattern.elem_type(value) != TensorProto.FLOAT:
            continue
        if _is_part_of_sum(pattern, node):
            continue
        named = _product_of(pattern, node) or node
        found.append(Layer(value, named.name, named.op_type, math.prod(shapes.get(value, [0]))))
    return found


def _is_part_of_sum(pattern: Pattern, node: onnx.NodeProto) -> bool:
    add = pattern.only_reader(node.output[0], "Add")
    if add is None:
        return False
    is_biased = node.op_type in WEIGHT_PRODUCTS and _has_constant(pattern, add)
    return is_biased or (node.op_type == "Mul" and _has_constant(pattern, node))


def _product_of(pattern: Pattern, add: onnx.NodeProto) -> onnx.NodeProto | None:
    """The product that an Add gives its bias."""
    if add.op_type != "Add" or not _has_constant(pattern, add):
        return None
    makers = [pattern.producer[name] for name in add.input if name in pattern.producer]
    return next((node for node in makers if node.op_type in WEIGHT_PRODUCTS and _is_part_of_sum(pattern, node)), None)


def _has_constant(pattern: Pattern, node: onnx.NodeProto) -> bool:
    return any(name in pattern.constants for name in node.input)


class Parts:
    """A model cut at the values `cuts`: for each of them the nodes that make it from others."""

    def __init__(self, model: onnx.ModelProto, cuts: Collection[str]) -> None:
        self._model = model
        self._cuts = frozenset(cuts)
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._maker = {name: index for index, node in enumerate(model.graph.node) for name in node.output}

    def reads(self, value: str) -> list[str]:
        """What is needed to make `value`: other values of `cuts`, and `image`."""
        read = [name for index in self._nodes(value) for name in self._model.graph.node[index].input]
        return [name for name in dict.fromkeys(read) if name in self._cuts or name == INPUT]

    def model(self, value: str) -> onnx.ModelProto:
        """What makes `value` as a model with the inputs `reads`."""
        nodes = [self._model.graph.node[index] for index in self._nodes(value)]
        read = dict.fromkeys(name for node in nodes for name in node.input)
        image = [info for info in self._model.graph.input if info.name in read]
        floats = [name for name in read if name in self._cuts]
        inputs = [*image, *(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in floats)]
        output = helper.make_tensor_value_info(value, TensorProto.FLOAT, None)
        constants = [self._constants[name] for name in read if name in self._constants]
        graph = helper.make_graph(nodes, value, inputs, [output], constants)
        return helper.make_model(graph, opset_imports=list(self._model.opset_import), ir_version=self._model.ir_version)

    def _nodes(self, value: str) -> list[int]:
        """Positions of the nodes between the cuts and `value`, in graph order."""
        found: set[int] = set()
        open_values = [value]
        while open_values:
            index = self._maker.get(open_values.pop())
            if index is not None and index not in found:
                found.add(index)
                open_values += [name for name in self._model.graph.node[index].input if name not in self._cuts]
        return sorted(found)
