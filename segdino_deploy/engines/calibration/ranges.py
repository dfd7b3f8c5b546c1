"""Activation ranges by streaming images through the fp32 model: memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from segdino_deploy.engines.run.onnxruntime import open_session
from segdino_deploy.errors import CheckFailed
from segdino_deploy.export.graph import INPUT, copy_of


def with_range_outputs(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """A copy whose outputs are the smallest and the largest value of each tensor, so no activation leaves the graph."""
    result = copy_of(model)
    del result.graph.output[:]
    for name in tensors:
        for operator, suffix in (("ReduceMin", "min"), ("ReduceMax", "max")):
            output = f"{name}.{suffix}"
            result.graph.node.append(helper.make_node(operator, [name], [output], output, keepdims=0))
            result.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, []))
    return result


def observe_ranges(
    model: onnx.ModelProto, tensors: Sequence[str], batches: Iterable[NDArray[np.uint8]]
) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of each tensor over all batches (uint8 `[N, H, W, 3]`).

    Raises CheckFailed, naming the tensor, where a value is NaN or infinite.
    """
    tensors = list(dict.fromkeys(tensors))  # several products may read one tensor
    watched = with_range_outputs(model, tensors)
    session = open_session(watched.SerializeToString())
    low = np.full(len(tensors), np.inf)
    high = np.full(len(tensors), -np.inf)
    for batch in batches:
        values = np.array(session.run(None, {INPUT: batch}), np.float64).reshape(len(tensors), 2)
        if not np.isfinite(values).all():
            name = tensors[int(np.argmin(np.isfinite(values).all(axis=1)))]
            raise CheckFailed(f"calibration: {name} is NaN or infinite in the fp32 model")
        low, high = np.minimum(low, values[:, 0]), np.maximum(high, values[:, 1])
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(tensors)}
