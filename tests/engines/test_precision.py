"""Typed models: what the ONNX file itself says is computed in which type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import quant_utils

from segdino_deploy.engines.calibration.ranges import observe_ranges
from segdino_deploy.engines.precision.cast import cast_model
from segdino_deploy.engines.precision.qdq import activation_scale, find_products, insert_qdq, quantize_weight
from segdino_deploy.errors import CheckFailed
from segdino_deploy.export.graph import value_types
from segdino_deploy.receipts import weight_products_by_type
from tests.conftest import Golden

Exported = Callable[[str], Path]


def load(exported: Exported, name: str) -> onnx.ModelProto:
    return onnx.load(exported(name) / "model.onnx")


def int8_of(model: onnx.ModelProto, images: np.ndarray) -> onnx.ModelProto:
    tensors = [product.activation for product in find_products(model)]
    return insert_qdq(model, observe_ranges(model, tensors, [image[None] for image in images]))


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_every_weight_product_is_in_the_asked_type(precision: str, golden: Golden, exported: Exported) -> None:
    model = load(exported, golden.name)
    typed, _ = cast_model(model, precision)

    before, after = weight_products_by_type(model)["fp32"], weight_products_by_type(typed)
    transposed = Counter(node.op_type for node in model.graph.node)["ConvTranspose"]
    kept = transposed if precision == "bf16" else 0  # no kernel for it in TensorRT-RTX

    assert after == {precision: before - kept} | ({"fp32": kept} if kept else {})


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_sums_and_the_decision_stay_in_fp32(precision: str, exported: Exported) -> None:
    typed, kept = cast_model(load(exported, "v2_3class_sat"), precision)
    types = value_types(typed)
    half = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}[precision]

    for node in typed.graph.node:
        if node.op_type in ("Softmax", "InstanceNormalization"):
            assert types[node.input[0]] == TensorProto.FLOAT
        if node.op_type == "LayerNormalization":
            assert types[node.input[0]] == half
            stash = {a.name: a.i for a in node.attribute}.get("stash_type", 1)
            assert stash == TensorProto.FLOAT  # the arithmetic inside the node
    assert types["logits"] == TensorProto.FLOAT
    assert [output.name for output in typed.graph.output] == ["mask", "logits"]
    assert any(line.startswith("Softmax") for line in kept)


def test_a_value_is_cast_once_however_many_nodes_read_it(exported: Exported) -> None:
    typed, _ = cast_model(load(exported, "v1_convt"), "fp16")
    casts = [(node.input[0], node.attribute[0].i) for node in typed.graph.node if node.op_type == "Cast"]

    assert len(casts) == len(set(casts))
    softmaxes = sum(node.op_type == "Softmax" for node in typed.graph.node)
    # image in, mask out; two round each softmax; one before the last resize
    assert len(casts) == 2 + 2 * softmaxes + 1


def test_fp16_values_are_the_rounded_fp32_values(exported: Exported) -> None:
    model = load(exported, "v1_convt")
    typed, _ = cast_model(model, "bf16")
    original = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}

    seen = 0
    for tensor in typed.graph.initializer:
        if tensor.data_type == TensorProto.BFLOAT16:
            expected = original[tensor.name.removesuffix(".bfloat16")].astype(ml_dtypes.bfloat16)
            np.testing.assert_array_equal(numpy_helper.to_array(tensor).view(np.uint16), expected.view(np.uint16))
            seen += 1
    assert seen > 50


def test_a_weight_outside_the_range_of_fp16_is_named_with_the_cure(exported: Exported) -> None:
    model = load(exported, "v1_convt")
    tensor = next(t for t in model.graph.initializer if t.dims and t.data_type == TensorProto.FLOAT)
    tensor.CopyFrom(numpy_helper.from_array(np.full(tuple(tensor.dims), 1e6, np.float32), tensor.name))

    with pytest.raises(CheckFailed, match=f"{tensor.name} reaches 1e.06, outside the range of fp16: use bf16 or fp32"):
        cast_model(model, "fp16")
    cast_model(model, "bf16")


def small_graph() -> onnx.ModelProto:
    """Cast -> Conv (first) -> Conv -> LayerNormalization -> two MatMul -> depthwise Conv -> Conv (last) -> logits."""
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
        helper.make_node("MatMul", ["c", "w_two"], ["e"], "two"),
        helper.make_node("MatMul", ["d", "e"], ["f"], "attention"),
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


def test_qdq_sits_on_the_weight_products_and_nowhere_else() -> None:
    model = small_graph()
    assert [product.node for product in find_products(model)] == ["conv", "one", "two"]

    result = int8_of(model, np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8))

    inputs = {node.name: list(node.input) for node in result.graph.node}
    assert inputs["conv"] == ["a.dq", "w_conv.dq", "b_conv"]  # the bias stays float
    assert inputs["one"] == ["c.dq", "w_one.dq"]
    assert inputs["two"] == ["c.dq", "w_two.dq"]
    assert inputs["attention"] == ["d", "e"]
    assert inputs["residual"] == ["f", "c"]
    assert inputs["first"] == ["pixels", "w_first"]
    assert inputs["depthwise"] == ["g", "w_depthwise"]
    assert inputs["last"] == ["h", "w_last"]
    # one pair for the conv's input and one that both products after the normalisation share
    assert sum(node.op_type == "QuantizeLinear" for node in result.graph.node) == 2


def test_qdq_is_symmetric_with_weights_per_channel_stored_as_int8() -> None:
    model = small_graph()
    result = int8_of(model, np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8))
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in result.graph.initializer}

    for node in result.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert constants[node.input[2]].dtype == np.int8
            assert not constants[node.input[2]].any()
    assert constants["w_conv.q"].dtype == np.int8
    assert constants["w_conv.scale"].shape == (4,)
    assert constants["w_one.scale"].shape == (8,)
    assert "w_conv" not in constants  # the float weight is gone from the file


def test_weight_quantization_agrees_with_onnx_runtimes() -> None:
    weight = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    values, scale = quantize_weight(weight, axis=1)

    for channel in range(5):
        _, expected_scale, expected = quant_utils.quantize_data(weight[:, channel], TensorProto.INT8, symmetric=True)
        np.testing.assert_allclose(scale[channel], expected_scale, rtol=1e-6)
        np.testing.assert_array_equal(values[:, channel], expected)


def test_a_channel_of_zeros_keeps_a_usable_scale() -> None:
    values, scale = quantize_weight(np.array([[0.0, 2.0], [0.0, -4.0]], np.float32), axis=1)

    assert scale.tolist() == [1.0, pytest.approx(4 / 127)]
    assert values.tolist() == [[0, 64], [0, -127]]  # 2 / (4 / 127) = 63.5, to even


@pytest.mark.parametrize("seen", [(0.0, 0.0), (float("nan"), 1.0), (-1.0, float("inf"))])
def test_an_unusable_range_names_its_tensor(seen: tuple[float, float]) -> None:
    with pytest.raises(CheckFailed, match=r"at block3\.norm"):
        activation_scale(seen, "block3.norm")


def test_observed_ranges_are_the_extremes_over_all_images(golden: Golden, exported: Exported) -> None:
    model = load(exported, golden.name)
    tensors = [product.activation for product in find_products(model)][:3]
    watched = onnx.load(exported(golden.name) / "model.onnx")
    for name in tensors:
        watched.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    session = ort.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    whole = [session.run(tensors, {"image": image[None]}) for image in golden.image]

    ranges = observe_ranges(model, tensors, [image[None] for image in golden.image])

    for index, name in enumerate(tensors):
        values = np.concatenate([run[index].ravel() for run in whole])
        assert ranges[name] == pytest.approx((values.min(), values.max()))


def test_int8_takes_the_linear_layers_of_every_block_and_nothing_of_a_v1_head(exported: Exported) -> None:
    layers = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")

    products = [product.node for product in find_products(load(exported, "v1_convt"))]

    assert products == [f"backbone.blocks.{block}.{layer}/MatMul" for block in range(12) for layer in layers]


def test_int8_takes_v2s_mixing_layers_but_no_resizing_matrix_and_no_last_layer(exported: Exported) -> None:
    products = [product.node for product in find_products(load(exported, "v2"))]

    mixing = [f"head.intra.{i}.pointwise/Conv" for i in range(4)] + [
        f"head.inter.{i}.pointwise/Conv" for i in (1, 2, 3)
    ]
    fourth_branch, last_block = "head.branches.3.conv.conv/Conv", "head.inter.0.block.pointwise/Conv"
    in_head = [name for name in products if name.startswith("head.")]
    assert sorted(in_head) == sorted([*mixing, fourth_branch, last_block])


def test_int8_keeps_the_golden_masks(golden: Golden, exported: Exported) -> None:
    model = load(exported, golden.name)
    result = int8_of(model, golden.image)
    session = ort.InferenceSession(result.SerializeToString(), providers=["CPUExecutionProvider"])

    logits = session.run(["logits"], {"image": golden.image[:1]})[0]

    scale = max(1.0, float(np.abs(golden.logits).max()))
    assert np.abs(logits - golden.logits[:1]).max() < 0.1 * scale
    counts = weight_products_by_type(result)
    assert counts["int8"] == len(find_products(model))
