"""What the int8 tests share: a graph small enough to know by heart, and running and watching graphs."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from segdino_deploy.engines.calibration.statistics import ChannelStatistics, observe_channels
from segdino_deploy.engines.precision.int8.model import PROBABILITIES, watches_of
from segdino_deploy.engines.precision.int8.products import find_products
from segdino_deploy.engines.precision.int8.qdq import insert_qdq
from segdino_deploy.engines.precision.int8.scales import Range
from segdino_deploy.engines.precision.int8.targets import Int8Target
from segdino_deploy.engines.run.onnxruntime import open_session
from segdino_deploy.export.graph import add_outputs

ATTENTION = "backbone.blocks.0.attn"
Images = NDArray[np.uint8]  # [N, H, W, 3]


def small_graph() -> onnx.ModelProto:
    """Cast -> Conv (first) -> Conv -> LayerNormalization -> attention -> depthwise Conv -> Conv (last) -> logits.

    q and k read the normalised map, v is k; q has a bias, k has none.
    """
    rng = np.random.default_rng(0)

    def constant(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Cast", ["image"], ["pixels_nhwc"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels_nhwc"], ["pixels"], "transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["pixels", "w_first"], ["a"], "first"),
        helper.make_node("Conv", ["a", "w_conv", "b_conv"], ["b"], "conv"),
        helper.make_node("LayerNormalization", ["b", "gamma"], ["c"], "norm"),
        helper.make_node("MatMul", ["c", "w_one"], ["d"], "one"),
        helper.make_node("Add", ["d", "b_one"], ["q"], "one_bias"),
        helper.make_node("MatMul", ["c", "w_two"], ["e"], "two"),
        helper.make_node("MatMul", ["q", "e"], ["s"], f"{ATTENTION}/MatMul"),
        helper.make_node("Softmax", ["s"], ["p"], f"{ATTENTION}/Softmax", axis=-1),
        helper.make_node("MatMul", ["p", "e"], ["f"], f"{ATTENTION}/MatMul.2"),
        helper.make_node("Add", ["f", "c"], ["g"], "residual"),
        helper.make_node("Conv", ["g", "w_depthwise"], ["h"], "depthwise", group=4),
        helper.make_node("Conv", ["h", "w_last"], ["logits"], "last"),
        helper.make_node("Greater", ["logits", "zero"], ["mask"], "decide"),
    ]
    constants = [
        constant("w_first", 4, 3, 1, 1),
        constant("w_conv", 4, 4, 1, 1),
        constant("b_conv", 4),
        constant("gamma", 8),
        constant("w_one", 8, 8),
        constant("b_one", 8),
        constant("w_two", 8, 8),
        constant("w_depthwise", 4, 1, 1, 1),
        constant("w_last", 1, 4, 1, 1),
        numpy_helper.from_array(np.array(0, np.float32), "zero"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 8, 8, 3])],
        [
            helper.make_tensor_value_info("mask", TensorProto.BOOL, [1, 1, 8, 8]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1, 8, 8]),
        ],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def small_images(count: int = 2) -> Images:
    return np.random.default_rng(1).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)


def constants_of(model: onnx.ModelProto) -> dict[str, NDArray[np.generic]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def run(model: onnx.ModelProto, images: Images, tensor: str = "logits") -> NDArray[np.float32]:
    """One tensor of the graph for every image, by itself, `[N, ...]`."""
    session = open_session(add_outputs(model, [tensor], TensorProto.FLOAT).SerializeToString())
    return np.concatenate([session.run([tensor], {"image": image[None]})[0] for image in images])


def relative_difference(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def observe(model: onnx.ModelProto, images: Images) -> dict[str, ChannelStatistics]:
    return observe_channels(model, watches_of(model), [image[None] for image in images], len(images))


def naive_int8(model: onnx.ModelProto, images: Images, target: Int8Target) -> onnx.ModelProto:
    """The products of a target, each activation in the range from its smallest to its largest value, and no more."""
    products = [product for product in find_products(model, target.kinds) if product.kind != "depthwise"]
    ranges: dict[str, Range] = {name: seen.range for name, seen in observe(model, images).items()}
    ranges |= {product.activation: PROBABILITIES for product in products if product.kind == "values"}
    return insert_qdq(model, products, ranges, target.activations)


def assert_same_statistics(
    found: dict[str, ChannelStatistics], expected: dict[str, ChannelStatistics], tensors: Sequence[str] | None = None
) -> None:
    """Low, high, mean and energy of each tensor, to 1e-4 of its largest."""
    for name in expected if tensors is None else tensors:
        for part in ("low", "high", "mean", "energy"):
            reference = getattr(expected[name], part)
            largest = np.abs([*expected[name].low, *expected[name].high]).max()
            atol = 1e-4 * (largest**2 if part == "energy" else largest)
            np.testing.assert_allclose(
                getattr(found[name], part), reference, rtol=0, atol=atol, err_msg=f"{part} of {name}"
            )


def copied(statistics: dict[str, ChannelStatistics]) -> dict[str, ChannelStatistics]:
    return copy.deepcopy(statistics)
