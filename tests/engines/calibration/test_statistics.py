"""Running statistics against the same tensors taken out whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from segdino_deploy.engines.calibration import statistics
from segdino_deploy.engines.calibration.statistics import (
    SAMPLE_ROWS,
    ChannelStatistics,
    Outputs,
    Watch,
    observe_channels,
    observe_histograms,
)
from segdino_deploy.engines.precision.int8.model import watches_of
from segdino_deploy.errors import CheckFailed
from segdino_deploy.export.graph import load_onnx
from tests.conftest import read_golden
from tests.engines.precision.int8.helpers import run, small_graph, small_images

Exported = Callable[[str], Path]


def one_by_one(images: np.ndarray) -> list[np.ndarray]:
    return [image[None] for image in images]


def assert_equals_whole(seen: ChannelStatistics, whole: np.ndarray, axes: tuple[int, ...]) -> None:
    """`whole`: `[N, ...]` over all images."""
    rest = tuple(axis for axis in range(whole.ndim) if axis not in axes)
    exact = whole.astype(np.float64)
    np.testing.assert_array_equal(seen.low, exact.min(axis=rest).ravel())
    np.testing.assert_array_equal(seen.high, exact.max(axis=rest).ravel())
    scale = np.abs(exact).max()
    np.testing.assert_allclose(seen.mean, exact.mean(axis=rest).ravel(), atol=1e-5 * scale)
    np.testing.assert_allclose(seen.energy, np.square(exact).mean(axis=rest).ravel(), atol=1e-5 * scale**2)
    assert seen.range == (exact.min(), exact.max())


def test_statistics_are_those_of_the_tensors_over_all_images() -> None:
    model, images = small_graph(), small_images(5)
    watches = [Watch("a", 4, (1,)), Watch("c", 4, (3,)), Watch("e", 4, ()), Watch("q", 4, (1, 3))]

    seen = observe_channels(model, watches, one_by_one(images), 5)

    assert {name: len(entry.low) for name, entry in seen.items()} == {"a": 4, "c": 8, "e": 1, "q": 32}
    for watch in watches:
        assert_equals_whole(seen[watch.tensor], run(model, images, watch.tensor), watch.channel_axes)
        assert seen[watch.tensor].rows.size == 0


@pytest.mark.parametrize("name", ["v1_convt", "v2"])
def test_everything_watched_in_a_golden_model_is_seen_as_it_is(name: str, exported: Exported) -> None:
    model, images = load_onnx(exported(name) / "model.onnx"), read_golden(name).image
    watches = watches_of(model)

    seen = observe_channels(model, watches, one_by_one(images), len(images))

    assert set(seen) == {watch.tensor for watch in watches}
    for watch in [*watches[:5], watches[-1]]:
        assert_equals_whole(seen[watch.tensor], run(model, images, watch.tensor), watch.channel_axes)


def test_the_models_own_outputs_are_handed_on() -> None:
    found: list[Outputs] = []
    images = small_images(3)
    observe_channels(small_graph(), [Watch("a", 4, (1,))], one_by_one(images), 3, found.append)

    assert [set(outputs) for outputs in found] == [{"mask", "logits"}] * 3
    np.testing.assert_array_equal(np.concatenate([o["logits"] for o in found]), run(small_graph(), images))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_not_finite_names_its_tensor(bad: float) -> None:
    model = small_graph()
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "b_conv")
    bias.CopyFrom(numpy_helper.from_array(np.array([0, bad, 0, 0], np.float32), "b_conv"))
    batches = one_by_one(small_images())

    with pytest.raises(CheckFailed, match="calibration: b is NaN or infinite in the fp32 model"):
        observe_channels(model, [Watch("a", 4, (1,)), Watch("b", 4, (1,))], batches, 2)
    with pytest.raises(CheckFailed, match="calibration: b is NaN or infinite in the fp32 model"):
        observe_histograms(model, {"a": (-1.0, 1.0), "b": (-1.0, 1.0)}, batches)


def token_graph() -> onnx.ModelProto:
    """The pixels as tokens `[N, 64, 3]`."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["pixels"], "cast", to=TensorProto.FLOAT),
            helper.make_node("Reshape", ["pixels", "shape"], ["tokens"], "tokens"),
        ],
        "tokens",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 8, 8, 3])],
        [helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["N", 64, 3])],
        [numpy_helper.from_array(np.array([-1, 64, 3], np.int64), "shape")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize("count", [1, 3, 9, 100, 700])
def test_sample_rows_are_bounded_whatever_the_number_of_images(count: int) -> None:
    images = small_images(count)
    seen = observe_channels(token_graph(), [Watch("tokens", 3, (2,), 64)], one_by_one(images), count)["tokens"]

    assert min(64 * count, SAMPLE_ROWS) / 2 <= len(seen.rows) <= SAMPLE_ROWS
    tokens = {tuple(row) for row in images.reshape(-1, 3).astype(float).tolist()}
    assert {tuple(row) for row in seen.rows.tolist()} <= tokens


def test_sample_rows_hold_the_first_token_of_an_image() -> None:
    images = small_images(9)
    seen = observe_channels(token_graph(), [Watch("tokens", 3, (2,), 64)], one_by_one(images), 9)["tokens"]

    for image in images:
        assert (seen.rows == image[0, 0]).all(axis=1).any()


def test_mapped_statistics_are_those_of_the_mapped_values() -> None:
    x = np.random.default_rng(0).normal(3, 2, (50, 4))
    shift, scale = np.array([1.0, -2, 0, 3]), np.array([0.5, 1, 4, 9])

    def of(values: np.ndarray) -> ChannelStatistics:
        return ChannelStatistics(
            values.min(0), values.max(0), values.mean(0), np.square(values).mean(0), values.astype(np.float32)
        )

    found, expected = of(x).mapped(shift, scale), of((x - shift) / scale)

    for part in ("low", "high", "mean", "energy", "rows"):
        np.testing.assert_allclose(getattr(found, part), getattr(expected, part), rtol=1e-5, atol=1e-6)


def test_histograms_count_every_value_of_small_tensors() -> None:
    model, images = small_graph(), small_images(3)
    whole = {name: run(model, images, name) for name in ("a", "c")}
    ranges = {name: (float(x.min()), float(x.max())) for name, x in whole.items()}

    for name, histogram in observe_histograms(model, ranges, one_by_one(images)).items():
        expected, _ = np.histogram(whole[name], bins=len(histogram.counts), range=ranges[name])
        assert histogram.counts.sum() == whole[name].size
        # a value within rounding of an edge may be in the bin beside it
        assert np.abs(np.cumsum(histogram.counts) - np.cumsum(expected)).max() <= 1


def test_histograms_take_an_evenly_spread_part_of_large_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "MAX_VALUES", 50)
    images = small_images(4)
    whole = run(small_graph(), images, "a")  # 256 values of each image

    histogram = observe_histograms(small_graph(), {"a": (float(whole.min()), float(whole.max()))}, one_by_one(images))[
        "a"
    ]

    per_image = histogram.counts.sum() / 4
    assert 20 < per_image <= 50
