"""Changing constants and nodes of a graph in a copy of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from segdino_deploy.export.graph import copy_of


class Edit:
    """A copy of a model under change; `finish` gives it back without constants that nobody reads any more."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = copy_of(model)
        self.graph = self.model.graph
        self.node = {node.name: node for node in self.graph.node}
        self.producer = {name: node for node in self.graph.node for name in node.output}
        self._constants = {tensor.name: tensor for tensor in self.graph.initializer}
        self._before: dict[str, list[onnx.NodeProto]] = {}  # new nodes by the node they stand before

    def readers(self, name: str) -> list[onnx.NodeProto]:
        return [node for node in self.graph.node if name in node.input]

    def constant(self, name: str) -> NDArray[np.float32] | None:
        """The constant `name` as an array, or None where it is no constant."""
        return numpy_helper.to_array(self._constants[name]) if name in self._constants else None

    def set_operand(self, node: str, index: int, array: NDArray[Any], suffix: str) -> None:
        """Gives one operand of a node a constant of its own: others may read the old one."""
        name = f"{node}.{suffix}"
        tensor = numpy_helper.from_array(np.ascontiguousarray(array), name)
        if name in self._constants:
            self._constants[name].CopyFrom(tensor)
        else:
            self.graph.initializer.append(tensor)
            self._constants[name] = self.graph.initializer[-1]
        self.node[node].input[index] = name

    def multiply_before(self, node: str, index: int, factors: NDArray[np.float32]) -> None:
        """Puts an operand of a node through a product with `factors`, by its last dimension."""
        source = self.node[node].input[index]
        made, name = f"{source}.smoothed", f"{node}.factors"
        self.graph.initializer.append(numpy_helper.from_array(factors.astype(np.float32), name))
        scope = node.rpartition("/")[0]
        self._before[node] = [helper.make_node("Mul", [source, name], [made], f"{scope}/Mul.smooth")]
        self.node[node].input[index] = made

    def bias_add(self, node: str) -> tuple[onnx.NodeProto, int] | None:
        """The Add that gives a product its constant bias, and which of its operands that is."""
        readers = self.readers(self.node[node].output[0])
        if len(readers) != 1 or readers[0].op_type != "Add":
            return None
        for index, name in enumerate(readers[0].input):
            if name in self._constants:
                return readers[0], index
        return None

    def finish(self) -> onnx.ModelProto:
        nodes = [new for node in self.graph.node for new in (*self._before.get(node.name, ()), node)]
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del self.graph.node[:]
        self.graph.node.extend(copies)
        read = {name for node in self.graph.node for name in node.input}
        kept = [t for t in self.graph.initializer if t.name in read]
        kept = [onnx.TensorProto.FromString(t.SerializeToString()) for t in kept]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)
        return self.model
