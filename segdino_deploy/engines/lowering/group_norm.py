"""Other spellings of GroupNorm, which the exporter writes as Reshape, InstanceNormalization, Reshape, Mul, Add."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from segdino_deploy.engines.lowering.graph import Pattern, Replacement, attribute, replace


@dataclass(frozen=True)
class GroupNormNodes:
    x: str  # [N, K, H, W]
    grouped: str  # [N, groups, K / groups * H * W]
    normalised: str  # the same, with mean 0 and variance 1
    restored: str  # the same as [N, K, H, W]
    out: str
    groups: int
    num_positions: int  # H * W
    scale: NDArray[np.float32]  # [K]
    bias: NDArray[np.float32]  # [K]
    epsilon: float


def find_group_norms(pattern: Pattern) -> Iterator[GroupNormNodes]:
    for norm in pattern.model.graph.node:
        if norm.op_type != "InstanceNormalization":
            continue
        grouped = pattern.made_by(norm.input[0], "Reshape")
        restored = pattern.only_reader(norm.output[0], "Reshape")
        mul = restored and pattern.only_reader(restored.output[0], "Mul")
        add = mul and pattern.only_reader(mul.output[0], "Add")
        scale, bias = (pattern.value(node.input[1]) if node else None for node in (mul, add))
        if grouped is None or restored is None or add is None or scale is None or bias is None:
            continue
        inner = [pattern.value(name) for name in norm.input[1:3]]
        shape = pattern.shape(grouped.input[0])
        grouped_shape = pattern.shape(norm.input[0])
        groups = grouped_shape[1] if len(grouped_shape) == 3 else None
        if any(value is None for value in inner) or len(shape) != 4 or groups is None or None in shape[1:]:
            continue
        if not np.array_equal(inner[0], np.ones(groups)) or np.any(inner[1]):  # type: ignore[arg-type]
            continue
        yield GroupNormNodes(
            grouped.input[0],
            norm.input[0],
            norm.output[0],
            restored.output[0],
            add.output[0],
            groups,
            shape[2] * shape[3],  # type: ignore[operator]
            scale.reshape(-1),
            bias.reshape(-1),
            float(attribute(norm, "epsilon", 1e-5)),
        )


def group_norm_as_layer_norm(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """A LayerNormalization over each group: ONNX Runtime runs its rows in parallel, its InstanceNormalization does not.

    Scale and bias per channel become one BatchNormalization (mean 0, variance 1): one pass instead of two.
    """
    pattern = Pattern(model)
    replacements = []
    for found in find_group_norms(pattern):
        channels = len(found.scale)
        row = channels // found.groups * found.num_positions
        norm = Replacement(found.normalised)
        one, zero = np.ones(row, np.float32), np.zeros(row, np.float32)
        identity = [norm.constant("ones", one), norm.constant("zeros", zero)]
        norm.add("LayerNormalization", [found.grouped, *identity], axis=-1, epsilon=found.epsilon)
        affine = Replacement(found.out)
        mean, variance = np.zeros(channels), np.ones(channels)
        constants = {"scale": found.scale, "bias": found.bias, "mean": mean, "variance": variance}
        names = [affine.constant(name, np.asarray(array, np.float32)) for name, array in constants.items()]
        affine.add("BatchNormalization", [found.restored, *names], epsilon=0.0)
        replacements += [norm, affine]
    return replace(model, replacements)


def group_norm_by_moments(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """Mean and mean square per channel, then per group; then y = a x + b. No reshape of the map, so any layout holds.

    variance = E[x^2] - E[x]^2 (rounding must not take it below 0), a = scale / sqrt(variance + epsilon),
    b = bias - mean a.
    """
    pattern = Pattern(model)
    return replace(model, [_moments(found) for found in find_group_norms(pattern)])


def _moments(found: GroupNormNodes) -> Replacement:
    r = Replacement(found.out)
    per_group = len(found.scale) // found.groups
    grouped = r.constant("grouped", np.array([0, found.groups, per_group], np.int64))  # 0: the batch, as it is
    as_map = r.constant("as_map", np.array([0, len(found.scale), 1, 1], np.int64))
    positions, members = r.constant("positions", np.array([2, 3])), r.constant("members", np.array([2]))

    def of_group(per_channel: str, label: str) -> str:  # [N, K] -> [N, groups, 1]
        rows = r.add("Reshape", [per_channel, grouped], f"{label}.rows")
        return r.add("ReduceMean", [rows, members], label, keepdims=1)

    mean = of_group(r.add("ReduceMean", [found.x, positions], "channel_mean", keepdims=0), "mean")
    norm = r.add("ReduceL2", [found.x, positions], "channel_norm", keepdims=0)
    count = r.constant("count", np.array(found.num_positions, np.float32))
    square = r.add("Div", [r.add("Mul", [norm, norm], "channel_sum"), count], "channel_square")
    squared_mean = r.add("Mul", [mean, mean], "squared_mean")
    variance = r.add("Sub", [of_group(square, "square"), squared_mean], "difference")
    variance = r.add("Max", [variance, r.constant("zero", np.array(0, np.float32))], "variance")
    epsilon = r.constant("epsilon", np.array(found.epsilon, np.float32))
    deviation = r.add("Sqrt", [r.add("Add", [variance, epsilon], "sum")], "deviation")
    shape = (1, found.groups, per_group)
    scale, bias = (np.asarray(v, np.float32).reshape(shape) for v in (found.scale, found.bias))
    a = r.add("Div", [r.constant("scale", scale), deviation], "a")
    b = r.add("Sub", [r.constant("bias", bias), r.add("Mul", [mean, a], "mean_a")], "b")
    scaled = r.add("Mul", [found.x, r.add("Reshape", [a, as_map], "a.map")], "scaled")
    r.add("Add", [scaled, r.add("Reshape", [b, as_map], "b.map")])
    return r
