"""Which weights of an engine a retrained head changes, by name: the names in the ONNX file are those in the engine."""

from __future__ import annotations

import onnx
from onnx import numpy_helper

from segdino_deploy.errors import InputError
from segdino_deploy.export.graph import is_resizing_matrix
from segdino_deploy.export.operations import stage_of

FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
FROM_WEIGHTS = ("Cast", "DequantizeLinear", "Transpose")  # nodes that belong to whoever reads them


def head_weights(model: onnx.ModelProto) -> list[str]:
    """Names of the float constants that only nodes of heads read, in file order. Resizing matrices are none."""
    readers = _stages_that_read(model)
    names = [tensor.name for tensor in model.graph.initializer if tensor.data_type in FLOATS]
    return [n for n in names if not is_resizing_matrix(n) and readers.get(n) and readers[n] <= _heads(readers[n])]


def changed_weights(old: onnx.ModelProto, new: onnx.ModelProto) -> list[str]:
    """Names of the constants that differ between two exports that are otherwise the same graph.

    Raises InputError, with the cure, where the graphs differ in more than the weights of heads.
    """
    cure = "export the checkpoint into a new bundle and build its engines"
    if [_signature(node) for node in old.graph.node] != [_signature(node) for node in new.graph.node]:
        raise InputError(f"the new checkpoint makes another graph, not only other weights: {cure}")
    before, after = ({t.name: t for t in model.graph.initializer} for model in (old, new))
    if {n: (t.data_type, list(t.dims)) for n, t in before.items()} != {
        n: (t.data_type, list(t.dims)) for n, t in after.items()
    }:
        raise InputError(f"the new checkpoint has weights of other shapes: {cure}")
    changed = [name for name in before if not _is_same(before[name], after[name])]
    allowed = set(head_weights(old))
    others = [name for name in changed if name not in allowed]
    if others:
        which = f"{len(others)} other weights, such as {_as_trained(others[0], old)}"
        raise InputError(f"the new checkpoint differs in more than its head ({which}): {cure}")
    return changed


def _as_trained(constant: str, model: onnx.ModelProto) -> str:
    """As the checkpoint calls it. One that was folded has a name of its own: `one of backbone.blocks.0.mlp.fc1`."""
    reader: str = next(node.name for node in model.graph.node if constant in node.input)
    module = reader.split("/")[0]
    return constant if constant.startswith(module) else f"one of {module}"


def _stages_that_read(model: onnx.ModelProto) -> dict[str, set[str]]:
    """By value: the stages of the nodes that read it, through the nodes that only prepare weights."""
    stages: dict[str, set[str]] = {}
    for node in reversed(model.graph.node):  # readers come after makers
        found = {stage_of(node.name)}
        if node.op_type in FROM_WEIGHTS:
            found = set().union(*(stages.get(name, set()) for name in node.output))
        for name in node.input:
            stages.setdefault(name, set()).update(found)
    return stages


def _heads(stages: set[str]) -> set[str]:
    return {stage for stage in stages if stage.split(" ")[0] == "head"}


def _signature(node: onnx.NodeProto) -> bytes:
    return bytes(node.SerializeToString(deterministic=True))


def _is_same(a: onnx.TensorProto, b: onnx.TensorProto) -> bool:
    return numpy_helper.to_array(a).tobytes() == numpy_helper.to_array(b).tobytes()
