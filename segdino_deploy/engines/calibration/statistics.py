"""What calibration images show of a graph's tensors, as running statistics: memory does not grow with the images.

The reductions are nodes of the graph itself, so no activation leaves it but a few sample rows per image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from segdino_deploy.engines.calibration.histogram import Histogram
from segdino_deploy.engines.run.onnxruntime import open_session
from segdino_deploy.errors import CheckFailed
from segdino_deploy.export.graph import INPUT, copy_of

SAMPLE_ROWS = 512  # per tensor, over all images
MAX_VALUES = 2**18  # of a tensor that a histogram takes from one image
NOT_FINITE = "is NaN or infinite in the fp32 model; export the checkpoint again and run verify"
NO_ROWS: NDArray[np.float32] = np.empty((0, 0), np.float32)
Vector = NDArray[np.float64]
Batches = Iterable[NDArray[np.uint8]]
Outputs = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Watch:
    """One tensor to watch: its reductions keep the dimensions `channel_axes` (none: one value for the whole tensor)."""

    tensor: str
    rank: int
    channel_axes: tuple[int, ...]
    num_tokens: int = 0  # of `[N, tokens, C]`: how many rows there are to sample from; 0: none are sampled


@dataclass
class ChannelStatistics:
    """Per channel of one tensor over all images, `[C]`; a tensor without channel axes has C = 1."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]
    energy: NDArray[np.float64]  # mean square
    rows: NDArray[np.float32]  # samples, [rows, C]; empty where none are taken
    halves: tuple[ChannelStatistics, ...] = ()  # the same of every second image and of the others

    @property
    def range(self) -> tuple[float, float]:
        return float(self.low.min()), float(self.high.max())

    def mapped(self, shift: NDArray[np.float64] | float, scale: NDArray[np.float64] | float) -> ChannelStatistics:
        """The statistics of (x - shift) / scale, scale positive."""
        mean = (self.mean - shift) / scale
        variance = np.maximum(self.energy - self.mean**2, 0) / np.square(scale)
        rows = ((self.rows - shift) / scale).astype(np.float32) if self.rows.size else self.rows
        halves = tuple(half.mapped(shift, scale) for half in self.halves)
        return ChannelStatistics(
            (self.low - shift) / scale, (self.high - shift) / scale, mean, variance + mean**2, rows, halves
        )


class _Running:
    """Statistics of one tensor over some of the images, as they come."""

    def __init__(self) -> None:
        self.count = 0
        self.rows: list[NDArray[np.float32]] = []

    def update(self, low: Vector, high: Vector, mean: Vector, energy: Vector) -> None:
        if self.count == 0:
            self.low, self.high, self.mean_sum, self.energy_sum = low, high, mean, energy
        else:
            self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
            self.mean_sum, self.energy_sum = self.mean_sum + mean, self.energy_sum + energy
        self.count += 1

    def statistics(self) -> ChannelStatistics:
        rows = np.concatenate(self.rows) if self.rows else NO_ROWS
        return ChannelStatistics(self.low, self.high, self.mean_sum / self.count, self.energy_sum / self.count, rows)


def _merged(parts: Sequence[_Running]) -> ChannelStatistics:
    """Statistics of all images from those of every second one and of the others."""
    seen = [part for part in parts if part.count]
    halves = tuple(part.statistics() for part in seen)
    shares = np.array([part.count for part in seen]) / sum(part.count for part in seen)
    return ChannelStatistics(
        np.min([half.low for half in halves], axis=0),
        np.max([half.high for half in halves], axis=0),
        shares @ np.stack([half.mean for half in halves]),
        shares @ np.stack([half.energy for half in halves]),
        np.concatenate([half.rows for half in halves]),
        halves if len(halves) > 1 else (),
    )


def observe_channels(
    model: onnx.ModelProto,
    watches: Sequence[Watch],
    batches: Batches,
    num_images: int,
    on_outputs: Callable[[Outputs], None] | None = None,
) -> dict[str, ChannelStatistics]:
    """Statistics by tensor name over all batches (uint8 `[N, H, W, 3]`).

    `on_outputs` gets the model's own outputs of every batch. Raises CheckFailed, naming the tensor, where a value is
    NaN or infinite.
    """
    per_image = int(np.clip(SAMPLE_ROWS // max(1, num_images), 2, 64))
    every = max(1, -(-num_images * per_image // SAMPLE_ROWS))  # images between two that are sampled
    watched, kept = _with_channel_outputs(model, watches, per_image)
    session = open_session(watched.SerializeToString(), reduces_early=True)
    names = [output.name for output in session.get_outputs()]
    running = {watch.tensor: (_Running(), _Running()) for watch in watches}
    for index, batch in enumerate(batches):
        outputs = dict(zip(names, session.run(names, {INPUT: batch}), strict=True))
        if on_outputs is not None:
            on_outputs({name: outputs[name] for name in kept})
        for watch in watches:
            found = [np.ravel(outputs[f"{watch.tensor}.{s}"]).astype(np.float64) for s in ("min", "max", "mean", "msq")]
            if not all(np.isfinite(values).all() for values in found):
                raise CheckFailed(f"calibration: {watch.tensor} {NOT_FINITE}")
            half = running[watch.tensor][index % 2]
            half.update(*found)
            if watch.num_tokens and (index // 2) % every == 0:
                half.rows.append(outputs[f"{watch.tensor}.rows"].reshape(-1, len(found[0])))
    return {name: _merged(halves) for name, halves in running.items() if halves[0].count}


def _with_channel_outputs(
    model: onnx.ModelProto, watches: Sequence[Watch], rows_per_image: int
) -> tuple[onnx.ModelProto, list[str]]:
    result = copy_of(model)
    graph = result.graph
    kept = [output.name for output in graph.output]
    for watch in watches:
        axes = [axis for axis in range(watch.rank) if axis not in watch.channel_axes]
        graph.initializer.append(numpy_helper.from_array(np.array(axes, np.int64), f"{watch.tensor}.axes"))
        square = f"{watch.tensor}.square"
        graph.node.append(helper.make_node("Mul", [watch.tensor, watch.tensor], [square], square))
        for operator, source, suffix in (
            ("ReduceMin", watch.tensor, "min"),
            ("ReduceMax", watch.tensor, "max"),
            ("ReduceMean", watch.tensor, "mean"),
            ("ReduceMean", square, "msq"),
        ):
            _add_output(graph, operator, [source, f"{watch.tensor}.axes"], f"{watch.tensor}.{suffix}", keepdims=0)
        if watch.num_tokens:
            count = min(rows_per_image, watch.num_tokens)
            # Class and register tokens come first: they are among the samples, for they hold the outliers.
            index = np.unique(np.linspace(0, watch.num_tokens - 1, count).astype(np.int64))
            graph.initializer.append(numpy_helper.from_array(index, f"{watch.tensor}.index"))
            _add_output(graph, "Gather", [watch.tensor, f"{watch.tensor}.index"], f"{watch.tensor}.rows", axis=1)
    return result, kept


def _add_output(graph: onnx.GraphProto, operator: str, inputs: list[str], name: str, **attributes: Any) -> None:
    graph.node.append(helper.make_node(operator, inputs, [name], name, **attributes))
    graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))


def observe_histograms(
    model: onnx.ModelProto, ranges: Mapping[str, tuple[float, float]], batches: Batches
) -> dict[str, Histogram]:
    """Histograms of tensors within known ranges (from `observe_channels`).

    Of a tensor with more than `MAX_VALUES` values an evenly spaced part is taken, at an odd distance so that it does
    not fall into step with the channels.
    """
    result = copy_of(model)
    graph = result.graph
    del graph.output[:]
    sizes = _sizes(model)
    constants = {"flat.shape": np.array([-1]), "flat.starts": np.array([0]), "flat.ends": np.array([2**62])}
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    for name in ranges:
        step = _odd_step(sizes.get(name, 0))
        graph.initializer.append(numpy_helper.from_array(np.array([step]), f"{name}.step"))
        graph.initializer.append(numpy_helper.from_array(np.array([0]), f"{name}.axis"))
        graph.node.append(helper.make_node("Reshape", [name, "flat.shape"], [f"{name}.flat"], f"{name}.flat"))
        inputs = [f"{name}.flat", "flat.starts", "flat.ends", f"{name}.axis", f"{name}.step"]
        _add_output(graph, "Slice", inputs, f"{name}.values")
    session = open_session(result.SerializeToString(), reduces_early=True)
    histograms = {name: Histogram(*limits) for name, limits in ranges.items()}
    for batch in batches:
        for (name, histogram), values in zip(
            histograms.items(), session.run([f"{name}.values" for name in ranges], {INPUT: batch}), strict=True
        ):
            if not np.isfinite(values).all():
                raise CheckFailed(f"calibration: {name} {NOT_FINITE}")
            histogram.update(values)
    return histograms


def _odd_step(size: int) -> int:
    step = -(-size // MAX_VALUES) | 1
    return step + 2 if step > 1 and step % 3 == 0 else step


def _sizes(model: onnx.ModelProto) -> dict[str, int]:
    from segdino_deploy.export.operations import infer_shapes

    return {name: int(np.prod(shape)) for name, shape in infer_shapes(model).items()}
