"""The largest value of every tensor on images, and which of them 16 bits cannot hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from segdino_deploy.engines.run.onnxruntime import open_session
from segdino_deploy.errors import CheckFailed
from segdino_deploy.export.graph import INPUT, copy_of, value_types

LARGEST = {"fp16": 65504.0, "bf16": 3.38e38}
# Head room for images that were not seen, and for sums whose parts are larger than their result. The two mistakes are
# not alike: an fp32 node too many costs a little time, one value past the end is infinite and spoils the whole map.
MARGIN = 2.0
NOT_COMPUTED = ("Constant", "DequantizeLinear")
MOST_LINES = 10
# Smallest and largest value, and a sum of magnitudes: ONNX Runtime's maximum passes over NaN, a sum never does.
REDUCTIONS = ("ReduceMin", "ReduceMax", "ReduceL1")


def observe_extremes(model: onnx.ModelProto, batches: Iterable[NDArray[np.uint8]]) -> dict[str, float]:
    """Largest |x| of every float32 value that a node computes, over all batches (uint8 `[N, H, W, 3]`).

    Memory is that of one run of the model. Raises CheckFailed, naming the tensor, where a value is NaN or infinite,
    and where there was no batch.
    """
    types = value_types(model)
    computed = [name for node in model.graph.node if node.op_type not in NOT_COMPUTED for name in node.output]
    tensors = [name for name in computed if types.get(name) == TensorProto.FLOAT]
    session = open_session(_with_reductions(model, tensors).SerializeToString(), reduces_early=True)
    largest = np.full(len(tensors), -np.inf)
    for batch in batches:
        values = np.array(session.run(None, {INPUT: batch}), np.float64).reshape(len(tensors), len(REDUCTIONS))
        low, high, magnitudes = values.T
        unusable = ~np.isfinite(low) | ~np.isfinite(high) | np.isnan(magnitudes)  # an infinite sum alone is no fault
        if unusable.any():
            raise CheckFailed(f"{tensors[int(np.argmax(unusable))]} is NaN or infinite in the fp32 model")
        largest = np.maximum(largest, np.maximum(-low, high))
    if not np.isfinite(largest).all():
        raise CheckFailed("no image to find the largest values on")
    return dict(zip(tensors, largest.tolist(), strict=True))


def out_of_range(extremes: Mapping[str, float], precision: str, margin: float = MARGIN) -> dict[str, float]:
    """The tensors whose largest |x| exceeds the format's largest number divided by `margin`."""
    return {name: value for name, value in extremes.items() if value > LARGEST[precision] / margin}


def nearest_to_limit(extremes: Mapping[str, float], count: int = 10) -> dict[str, float]:
    """The `count` tensors with the largest values, the largest first."""
    return dict(sorted(extremes.items(), key=lambda item: -item[1])[:count])


def reasons(model: onnx.ModelProto, values: Mapping[str, float], precision: str, checked_on: str) -> list[str]:
    """Lines that say which tensors are out of range, where, how far and on which images, the largest first.

    One line per tensor; where these are many, one per scope, whose numbers count as equal (`blocks.*.mlp.fc2`).
    """
    made_at = {name: node.name or node.op_type for node in model.graph.node for name in node.output}
    is_many = len(values) > MOST_LINES
    groups: dict[str, list[str]] = {}
    for name in nearest_to_limit(values, len(values)):
        scope = re.sub(r"\.\d+(?=\.|$)", ".*", made_at[name].rpartition("/")[0])
        groups.setdefault(scope if is_many else name, []).append(name)

    limit = LARGEST[precision]
    lines = []
    for scope, names in list(groups.items())[:MOST_LINES]:
        first = f"{made_at[names[0]]} ({names[0]})"
        where = f"{scope or 'graph'}: {len(names)} tensors, {first}" if is_many else f"{first}:"
        end = f"{precision} ends at {limit:.6g} (kept from {limit / MARGIN:.6g} on)"
        lines.append(f"{where} reaches {values[names[0]]:.3g} on {checked_on}, {end}")
    unnamed = sum(len(names) for names in list(groups.values())[MOST_LINES:])
    return [*lines, f"{unnamed} more tensors out of the range of {precision}"] if unnamed else lines


def _with_reductions(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """A copy whose outputs are the `REDUCTIONS` of each tensor, so no activation leaves the graph."""
    result = copy_of(model)
    del result.graph.output[:]
    for name in tensors:
        for operator in REDUCTIONS:
            output = f"{name}.{operator}"
            result.graph.node.append(helper.make_node(operator, [name], [output], output, keepdims=0))
            result.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, []))
    return result
