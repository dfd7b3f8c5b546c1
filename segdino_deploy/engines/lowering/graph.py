"""Finding patterns in an ONNX graph and putting other nodes in their place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from segdino_deploy.export.graph import copy_of, needed_nodes


class Pattern:
    """An indexed, read-only view of a model: who makes a value, who reads it, constants, shapes and types."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.producer = {name: node for node in model.graph.node for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in model.graph.node:
            for name in node.input:
                self.readers[name].append(node)
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        self._types = {v.name: v.type.tensor_type for v in [*inferred.input, *inferred.output, *inferred.value_info]}

    def made_by(self, name: str, operator: str) -> onnx.NodeProto | None:
        """The node that makes `name`, if it is an `operator`."""
        node = self.producer.get(name)
        return node if node is not None and node.op_type == operator else None

    def only_reader(self, name: str, operator: str) -> onnx.NodeProto | None:
        """The node that reads `name`, if it is the only one and an `operator`."""
        readers = self.readers[name]
        return readers[0] if len(readers) == 1 and readers[0].op_type == operator else None

    def value(self, name: str) -> NDArray[Any] | None:
        """The constant `name`, or None."""
        return numpy_helper.to_array(self.constants[name]) if name in self.constants else None

    def shape(self, name: str) -> list[int | None]:
        """Dimensions of a value; None for a symbolic one, [] where nothing is known."""
        if name in self.constants:
            return list(self.constants[name].dims)
        dims = self._types[name].shape.dim if name in self._types else []
        return [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]

    def elem_type(self, name: str) -> int:
        if name in self.constants:
            return int(self.constants[name].data_type)
        return int(self._types[name].elem_type) if name in self._types else 0


class Replacement:
    """Nodes to put where one value was made, with their constants; and the nodes that are then no longer needed."""

    def __init__(self, output: str) -> None:
        self.output = output  # the value whose maker is replaced
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}

    def add(self, operator: str, inputs: Sequence[str], suffix: str | None = None, **attributes: Any) -> str:
        """Adds a node; its output is `<output>/<suffix>`, or the replaced value itself where no suffix is given."""
        name = self.output if suffix is None else f"{self.output}/{suffix}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def constant(self, suffix: str, array: NDArray[Any], elem_type: int | None = None) -> str:
        """Adds a constant in the array's type, or in `elem_type`."""
        name = f"{self.output}/{suffix}"
        if elem_type is not None:
            array = array.astype(helper.tensor_dtype_to_np_dtype(elem_type))
        self.constants[name] = array
        return name


def replace(
    model: onnx.ModelProto, replacements: Iterable[Replacement], *, opset: int | None = None, domain: str | None = None
) -> onnx.ModelProto | None:
    """A copy with every replacement made and without nodes that nobody reads any more; None where there is none.

    `opset`: the least opset the new nodes need. `domain`: one more operator set they come from.
    """
    by_output: Mapping[str, Replacement] = {r.output: r for r in replacements}
    if not by_output:
        return None
    result = copy_of(model)
    graph = result.graph
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        made = next((by_output[name] for name in node.output if name in by_output), None)
        nodes.extend(made.nodes if made is not None else [node])
    constants = list(model.graph.initializer)
    for replacement in by_output.values():
        constants.extend(numpy_helper.from_array(array, name) for name, array in replacement.constants.items())
    kept = needed_nodes(nodes, [output.name for output in model.graph.output])
    read = {name for node in kept for name in node.input}
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(kept)
    graph.initializer.extend(tensor for tensor in constants if tensor.name in read)
    if opset is not None:
        default = next(entry for entry in result.opset_import if entry.domain in ("", "ai.onnx"))
        default.version = max(opset, default.version)
    if domain is not None and all(entry.domain != domain for entry in result.opset_import):
        result.opset_import.append(helper.make_opsetid(domain, 1))
    return result


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(entry) for entry in node.attribute if entry.name == name), default)
