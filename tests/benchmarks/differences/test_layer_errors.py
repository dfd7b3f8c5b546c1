"""Comparing two models, worked out by hand on graphs of a few numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from segdino_deploy.benchmarks.differences.layer_errors import compare_models
from segdino_deploy.benchmarks.differences.layer_graph import Parts, find_layers
from segdino_deploy.benchmarks.differences.layer_rounding import in_float32
from segdino_deploy.engines.precision.cast import cast_model
from segdino_deploy.errors import CheckFailed, InputError
from tests.benchmarks.differences.conftest import Typed
from tests.conftest import read_golden

PIXEL = np.array([[[[3, 4, 0]]]], np.uint8)  # [1, 1, 1, 3]
Node = tuple[str, list[str], str]


def model_of(nodes: Sequence[Node], constants: dict[str, object]) -> onnx.ModelProto:
    """image -> x (float32) -> `nodes` (operator, inputs, output); the output is the last of them."""
    made = [helper.make_node("Cast", ["image"], ["x"], "cast", to=TensorProto.FLOAT)]
    made += [helper.make_node(operator, inputs, [output], f"node of {output}") for operator, inputs, output in nodes]
    graph = helper.make_graph(
        made,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 1, 1, 3])],
        [helper.make_tensor_value_info(nodes[-1][2], TensorProto.FLOAT, ["N", 1, 1, 3])],
        [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


RESIDUAL: list[Node] = [
    ("MatMul", ["x", "w"], "product"),
    ("Add", ["product", "b"], "branch"),
    ("Add", ["x", "branch"], "sum"),
    ("Relu", ["sum"], "out"),
]


def residual(weight: NDArray[np.float64], bias: Sequence[float] = (0, 0, 0)) -> onnx.ModelProto:
    return model_of(RESIDUAL, {"w": weight, "b": bias})


def test_cosine_and_relative_error_are_those_of_the_values() -> None:
    # branch: (3, 4, 0) in the reference, (3, 0, 0) in the other: cosine 9 / (5 * 3), error 4 / 5.
    # sum: (6, 8, 0) and (6, 4, 0): cosine (36 + 32) / (10 * sqrt 52), error 4 / 10.
    compared = compare_models(residual(np.eye(3)), residual(np.diag([1.0, 0, 1])), PIXEL)

    branch, total, out = compared.layers
    assert (branch.name, branch.operator) == ("node of product", "MatMul")  # with its bias
    assert branch.cosine == pytest.approx(0.6)
    assert branch.relative_error == pytest.approx(0.8)
    assert (total.name, total.operator) == ("node of sum", "Add")
    assert total.cosine == pytest.approx(68 / (10 * math.sqrt(52)))
    assert total.relative_error == pytest.approx(0.4)
    assert out.relative_error == pytest.approx(0.4)
    assert compared.own_errors == pytest.approx({"node of product": 0.8, "node of sum": 0, "node of out": 0})
    assert compared.departs_most == "node of product"


def test_what_cancels_in_a_residual_addition_is_not_its_own_error() -> None:
    # branch: -0.9 x and -0.8 x: error 1/9. sum: 0.1 x and 0.2 x: the error grows to 1, and that of Relu with it.
    compared = compare_models(residual(-0.9 * np.eye(3)), residual(-0.8 * np.eye(3)), PIXEL)

    assert [layer.relative_error for layer in compared.layers] == pytest.approx([1 / 9, 1, 1], rel=1e-5)
    assert compared.departs_most == "node of product"


def test_sums_run_over_all_images() -> None:
    # Second image: (0, 0, 5), equal in both. Products: 9 + 25 of norms sqrt 50 and sqrt 34; difference 4.
    images = np.array([[[[3, 4, 0]]], [[[0, 0, 5]]]], np.uint8)
    compared = compare_models(residual(np.eye(3)), residual(np.diag([1.0, 0, 1])), images)

    assert compared.layers[0].cosine == pytest.approx(34 / math.sqrt(50 * 34))
    assert compared.layers[0].relative_error == pytest.approx(4 / math.sqrt(50))


@pytest.mark.parametrize(("batch", "limit_bytes"), [(1, 0), (1, 10**9), (2, 0), (2, 10**9), (4, 0)])
def test_batches_and_memory_change_nothing(batch: int, limit_bytes: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 1, 3), dtype=np.uint8)
    models = residual(np.eye(3), (1, 2, 3)), residual(np.diag([1.0, 0.5, 1]), (1, 2, 3.5))

    one, other = compare_models(*models, images), compare_models(*models, images, batch, limit_bytes=limit_bytes)

    for a, b in zip(one.layers, other.layers, strict=True):
        assert (a.name, a.operator) == (b.name, b.operator)
        assert (a.cosine, a.relative_error) == pytest.approx((b.cosine, b.relative_error), rel=1e-12)


def test_a_zeroed_layer_has_no_direction() -> None:
    compared = compare_models(residual(np.eye(3)), residual(np.zeros((3, 3))), PIXEL)

    assert (compared.layers[0].cosine, compared.layers[0].relative_error) == (0, 1)


def test_a_layer_without_signal_is_left_out() -> None:
    compared = compare_models(residual(np.zeros((3, 3))), residual(np.zeros((3, 3)), (0.1, 0, 0)), PIXEL)

    assert [layer.name for layer in compared.layers] == ["node of sum", "node of out"]


def test_values_that_only_one_model_has_are_said() -> None:
    shorter = model_of(
        [("MatMul", ["x", "w"], "product"), ("Add", ["product", "b"], "branch")], {"w": np.eye(3), "b": 0}
    )

    compared = compare_models(residual(np.eye(3)), shorter, PIXEL)

    assert [layer.name for layer in compared.layers] == ["node of product"]
    assert compared.not_found == ["node of sum", "node of out"]
    stranger = model_of([("Relu", ["x"], "other")], {})
    with pytest.raises(InputError, match="no value in common"):
        compare_models(residual(np.eye(3)), stranger, PIXEL)


def test_nothing_to_compare_on_is_refused() -> None:
    with pytest.raises(InputError, match="no images"):
        compare_models(residual(np.eye(3)), residual(np.eye(3)), PIXEL[:0])


def test_a_value_that_is_not_finite_says_whose_it_is() -> None:
    broken, sound = residual(np.full((3, 3), np.nan)), residual(np.eye(3))

    with pytest.raises(CheckFailed, match="node of product is NaN or infinite in the typed model"):
        compare_models(sound, broken, PIXEL)
    with pytest.raises(CheckFailed, match="node of product is NaN or infinite in the fp32 model"):
        compare_models(broken, sound, PIXEL)


@pytest.mark.parametrize("name", ["v1_convt", "v2"])
def test_a_model_is_equal_to_itself(name: str, typed: Typed) -> None:
    bundle, _ = typed(name, "openvino", "fp32")
    model = onnx.load(bundle.file("model.onnx"))

    compared = compare_models(model, model, read_golden(name).image)

    assert len(compared.layers) > 150
    assert {(layer.cosine, layer.relative_error) for layer in compared.layers} == {(1.0, 0.0)}
    assert compared.departs_most == ""
    assert compared.not_found == []


def test_parts_together_are_the_model(typed: Typed) -> None:
    bundle, _ = typed("v2", "openvino", "fp32")
    model = onnx.load(bundle.file("model.onnx"))
    image = read_golden("v2").image[:1]
    layers = [layer.value for layer in find_layers(model)]
    parts = Parts(model, layers)

    values = {"image": image}
    for name in layers:
        reads = {read: values[read] for read in parts.reads(name)}
        values[name] = ReferenceEvaluator(parts.model(name)).run([name], reads)[0]

    np.testing.assert_allclose(values["logits"], read_golden("v2").logits[:1], atol=1e-4)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_16_bits_in_float32_are_rounded_as_the_standard_says(precision: str) -> None:
    nodes: list[Node] = [
        ("Div", ["x", "three"], "a"),
        ("Mul", ["a", "seventh"], "b"),
        ("Add", ["b", "a"], "c"),
        ("Relu", ["c"], "logits"),  # by its name this one and what makes it stay in fp32
    ]
    model, _ = cast_model(model_of(nodes, {"three": 3, "seventh": 1 / 7}), precision)
    images = np.random.default_rng(0).integers(0, 256, (50, 1, 1, 3), dtype=np.uint8)

    widened = in_float32(model)

    types = {value.type.tensor_type.elem_type for value in onnx.shape_inference.infer_shapes(widened).graph.value_info}
    assert types & {TensorProto.FLOAT16, TensorProto.BFLOAT16}  # between two casts
    assert all(tensor.data_type == TensorProto.FLOAT for tensor in widened.graph.initializer)
    for name in ("a", "b", "c"):
        expected = _value(model, name, images).astype(np.float32)
        np.testing.assert_array_equal(_value(widened, name, images), expected)
        assert len(np.unique(expected)) > 50


def test_a_float32_model_is_left_as_it_is() -> None:
    model = residual(np.eye(3))

    assert in_float32(model) is model


def _value(model: onnx.ModelProto, name: str, images: NDArray[np.uint8]) -> NDArray[np.generic]:
    """By ONNX's own evaluator."""
    result: NDArray[np.generic] = ReferenceEvaluator(model).run([name], {"image": images})[0]
    return result
