"""Where Q/DQ stands in the graph, and in which types."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from segdino_deploy.engines.calibration.statistics import NO_ROWS, ChannelStatistics
from segdino_deploy.engines.precision.int8.products import Product, find_products
from segdino_deploy.engines.precision.int8.qdq import QuantizedWeight, insert_qdq
from segdino_deploy.engines.precision.int8.scales import Range
from segdino_deploy.engines.precision.int8.targets import Activations
from segdino_deploy.engines.run.onnxruntime import open_session
from tests.engines.precision.int8.helpers import ATTENTION, constants_of, run, small_graph, small_images

TENSORS = ("a", "c", "q", "e")


def ranges() -> dict[str, Range]:
    found = {name: run(small_graph(), small_images(), name) for name in TENSORS}
    return {name: (float(x.min()), float(x.max())) for name, x in found.items()} | {"p": (0.0, 1.0)}


def products() -> list[Product]:
    return find_products(small_graph(), ("weight", "scores", "values"))


def inputs_of(model: onnx.ModelProto) -> dict[str, list[str]]:
    return {node.name: list(node.input) for node in model.graph.node}


def test_qdq_sits_on_the_weight_products_and_nowhere_else() -> None:
    before = inputs_of(small_graph())
    result = insert_qdq(small_graph(), find_products(small_graph()), ranges())
    inputs = inputs_of(result)

    assert inputs["conv"] == ["a.dq", "w_conv.dq", "b_conv"]  # the bias stays float
    assert inputs["one"] == ["c.dq", "w_one.dq"]
    assert inputs["two"] == ["c.dq", "w_two.dq"]
    for name in before.keys() - {"conv", "one", "two"}:
        assert inputs[name] == before[name]
    # one pair for the conv's input and one that both products after the normalisation share
    assert sum(node.op_type == "QuantizeLinear" for node in result.graph.node) == 2


def test_products_left_out_stay_as_they_are() -> None:
    only = [product for product in products() if product.node == "two"]
    inputs = inputs_of(insert_qdq(small_graph(), only, ranges()))

    assert inputs["two"] == ["c.dq", "w_two.dq"]
    assert inputs["conv"] == ["a", "w_conv", "b_conv"]
    assert inputs["one"] == ["c", "w_one"]


def test_symmetric_activations_have_zero_points_of_zero() -> None:
    result = insert_qdq(small_graph(), find_products(small_graph()), ranges(), "int8")
    constants = constants_of(result)

    for node in result.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert constants[node.input[2]].dtype == np.int8
            assert not constants[node.input[2]].any()
    largest = max(map(abs, ranges()["a"]))
    assert constants["a.scale"] == pytest.approx(largest / 127)


def test_unsigned_activations_have_a_zero_point_where_zero_lies() -> None:
    result = insert_qdq(small_graph(), find_products(small_graph()), ranges(), "uint8")
    constants = constants_of(result)
    low, high = ranges()["c"]

    assert constants["c.uint8.zero"].dtype == np.uint8
    assert constants["c.uint8.scale"] == pytest.approx((high - low) / 255)
    assert constants["c.uint8.zero"] == round(255 * -low / (high - low))
    assert constants["w_one.zero"].dtype == np.int8  # weights are signed all the same


def test_probabilities_are_unsigned_from_zero_and_softmax_is_left_alone() -> None:
    result = insert_qdq(small_graph(), products(), ranges(), "uint8")
    inputs, constants = inputs_of(result), constants_of(result)

    assert inputs[f"{ATTENTION}/MatMul.2"] == ["p.probability.dq", "e.dq"]
    assert constants["p.probability.zero"].dtype == np.uint8
    assert constants["p.probability.zero"] == 0
    assert constants["p.probability.scale"] == pytest.approx(1 / 255)
    # q, k and v are symmetric whatever the type of the other activations
    assert inputs[f"{ATTENTION}/MatMul"] == ["q.dq", "e.dq"]
    assert constants["e.zero"].dtype == np.int8
    assert inputs[f"{ATTENTION}/Softmax"] == ["s"]


def test_no_pair_stands_after_a_product_or_on_a_bias_or_a_residual_addition() -> None:
    inputs = inputs_of(insert_qdq(small_graph(), products(), ranges(), "uint8"))

    assert inputs["one_bias"] == ["d", "b_one"]
    assert inputs["residual"] == ["f", "c"]
    assert inputs["norm"] == ["b", "gamma"]
    assert inputs["decide"] == ["logits", "zero"]
    quantized = {operands[0] for name, operands in inputs.items() if name.startswith("quantize/")}
    assert quantized == {"a", "c", "q", "e", "p"}


def test_weights_are_stored_as_int8_per_channel_and_the_float_weight_is_gone() -> None:
    constants = constants_of(insert_qdq(small_graph(), find_products(small_graph()), ranges()))

    assert constants["w_conv.q"].dtype == np.int8
    assert constants["w_conv.scale"].shape == (4,)
    assert constants["w_one.scale"].shape == (8,)
    np.testing.assert_allclose(
        constants["w_one.scale"], np.abs(constants_of(small_graph())["w_one"]).max(axis=0) / 127, rtol=1e-6
    )
    assert "w_conv" not in constants


@pytest.mark.parametrize("activations", ["int8", "uint8"])
def test_the_result_runs_and_stays_near_the_fp32_graph(activations: Activations) -> None:
    result = insert_qdq(small_graph(), products(), ranges(), activations)
    expected, found = run(small_graph(), small_images()), run(result, small_images())

    assert np.square(found - expected).mean() < 0.1**2 * np.square(expected).mean()


def seen(mean: NDArray[np.float64]) -> ChannelStatistics:
    return ChannelStatistics(mean - 1, mean + 1, mean, np.ones_like(mean), NO_ROWS)


def test_bias_correction_changes_biases_and_no_nodes() -> None:
    means = {"a": np.linspace(1, 2, 4), "c": np.linspace(-1, 1, 8)}
    # quantized in advance, so that both have the same weights
    known: dict[str, QuantizedWeight] = {}
    plain = insert_qdq(small_graph(), find_products(small_graph()), ranges(), known=known)
    statistics = {name: seen(mean) for name, mean in means.items()}
    corrected = insert_qdq(small_graph(), find_products(small_graph()), ranges(), statistics=statistics, known=known)

    before, after = inputs_of(plain), inputs_of(corrected)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"conv", "one_bias"}  # `two`, a matrix product, has no bias and gets none
    assert len(plain.graph.node) == len(corrected.graph.node)
    old, new = constants_of(plain), constants_of(corrected)
    weight = constants_of(small_graph())["w_one"]
    rounded = old["w_one.q"] * old["w_one.scale"]
    np.testing.assert_allclose(
        new["one_bias.bias.corrected"] - old["b_one"], means["c"] @ (weight - rounded), rtol=1e-4, atol=1e-7
    )
    assert new["conv.bias.corrected"].shape == (4,)
    assert not (new["conv.bias.corrected"] == old["b_conv"]).all()


def test_a_convolution_without_a_bias_gets_the_correction_as_its_bias() -> None:
    graph = small_graph()
    conv = next(node for node in graph.graph.node if node.name == "conv")
    del conv.input[2]
    known: dict[str, QuantizedWeight] = {}
    result = insert_qdq(
        graph, find_products(graph), ranges(), statistics={"a": seen(np.linspace(1, 2, 4))}, known=known
    )

    assert inputs_of(result)["conv"] == ["a.dq", "w_conv.dq", "conv.bias"]
    values, scale = known["w_conv"]
    lost = constants_of(graph)["w_conv"] - values * scale[:, None, None, None]
    expected = np.einsum("oihw,i->o", lost, np.linspace(1, 2, 4))
    np.testing.assert_allclose(constants_of(result)["conv.bias"], expected, rtol=1e-4, atol=1e-7)


def test_every_channel_that_a_depthwise_convolution_reads_has_a_scale_of_its_own() -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 9, 7])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 3, 9, 7])
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(3, 1, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], "depthwise", group=3, pads=[1, 1, 1, 1]),
        helper.make_node("Identity", ["y"], ["out"], "end"),
    ]
    graph = helper.make_graph(nodes, "depthwise", [x], [out], [numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    # a wide channel, one without negative values a thousand times as narrow, and one of zeros
    images = rng.normal(size=(4, 3, 9, 7)) * np.array([500, 0.5, 0])[:, None, None]
    images[:, 1] = np.abs(images[:, 1])
    images = images.astype(np.float32)
    flat = images.transpose(1, 0, 2, 3).reshape(3, -1).astype(np.float64)
    statistics = {"x": ChannelStatistics(flat.min(1), flat.max(1), flat.mean(1), np.square(flat).mean(1), NO_ROWS)}
    product = Product("depthwise", "head", "depthwise", "x", "w")
    result = insert_qdq(model, [product], {}, "uint8", statistics=statistics)

    constants = constants_of(result)
    assert constants["x.channels.zero"].tolist()[1:] == [0, 0]
    assert constants["x.channels.scale"][1] == pytest.approx(flat[1].max() / 255)
    expected, found = (open_session(m.SerializeToString()).run(None, {"x": images})[0] for m in (model, result))
    for channel in (0, 1):
        error = np.square(found[:, channel] - expected[:, channel]).mean()
        assert error < 0.01**2 * np.square(expected[:, channel]).mean()
    assert np.abs(found[:, 2]).max() == 0


def test_weights_quantized_before_are_taken_again() -> None:
    known: dict[str, QuantizedWeight] = {}
    first = insert_qdq(small_graph(), find_products(small_graph()), ranges(), known=known)
    assert set(known) == {"w_conv", "w_one", "w_two"}
    known["w_one"] = (np.full((8, 8), 7, np.int8), np.ones(8, np.float32))

    again = constants_of(insert_qdq(small_graph(), find_products(small_graph()), ranges(), known=known))

    assert (again["w_one.q"] == 7).all()
    np.testing.assert_array_equal(again["w_two.q"], constants_of(first)["w_two.q"])
