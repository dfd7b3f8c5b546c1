"""The largest values of a graph on images, against whole tensors and against values worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from segdino_deploy.engines.precision.extremes import nearest_to_limit, observe_extremes, out_of_range, reasons
from segdino_deploy.errors import CheckFailed
from tests.conftest import read_golden


def graph_on_pixels(
    nodes: Sequence[onnx.NodeProto], shape: Sequence[int] = (1, 8, 8, 3), **constants: object
) -> onnx.ModelProto:
    """`pixels` (float32 `[1, 8, 8, 3]` of the uint8 `image`), then `nodes` up to `logits` of `shape`.

    `constants` are float32.
    """
    cast = helper.make_node("Cast", ["image"], ["pixels"], "output/Cast", to=TensorProto.FLOAT)
    graph = helper.make_graph(
        [cast, *nodes],
        "on_pixels",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 8, 8, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def image_of(value: int, one_pixel: int | None = None) -> np.ndarray:
    """uint8 `[1, 8, 8, 3]` of one value, with another in the middle."""
    image = np.full((1, 8, 8, 3), value, np.uint8)
    if one_pixel is not None:
        image[0, 3, 4, 1] = one_pixel
    return image


@pytest.mark.parametrize("name", ["v1_convt", "v2_3class_sat"])
def test_extremes_are_those_of_the_whole_tensors(name: str, exported: Callable[[str], Path]) -> None:
    path, images = exported(name) / "model.onnx", read_golden(name).image
    whole = onnx.load(path)
    del whole.graph.output[:]
    produced = [value for node in whole.graph.node for value in node.output]
    whole.graph.output.extend(onnx.ValueInfoProto(name=value) for value in produced)
    session = ort.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    expected: dict[str, float] = {}
    for image in images:
        for value, array in zip(produced, session.run(None, {"image": image[None]}), strict=True):
            if array.dtype == np.float32:
                expected[value] = max(expected.get(value, 0.0), float(np.abs(array).max()))

    extremes = observe_extremes(onnx.load(path), [image[None] for image in images])

    assert len(expected) > 400
    assert extremes == pytest.approx(expected, rel=1e-5)
    # the two images differ, so a result of one of them alone would differ too
    assert observe_extremes(onnx.load(path), [images[:1]]) != pytest.approx(expected, rel=1e-5)


def test_a_negative_value_counts_by_its_magnitude_and_the_largest_of_all_batches_is_kept() -> None:
    model = graph_on_pixels([helper.make_node("Sub", ["pixels", "c"], ["logits"], "sub")], c=200.0)

    extremes = observe_extremes(model, [image_of(100, 50), image_of(10, 255), image_of(200)])

    assert extremes == {"pixels": 255.0, "logits": 190.0}  # 10 - 200


def test_constants_integers_and_dequantized_values_are_not_watched() -> None:
    nodes = [
        helper.make_node("Constant", [], ["thousand"], "thousand", value_float=1000.0),
        helper.make_node("Shape", ["pixels"], ["shape"], "shape"),
        helper.make_node("QuantizeLinear", ["pixels", "scale"], ["pixels.q"], "q"),
        helper.make_node("DequantizeLinear", ["pixels.q", "scale"], ["pixels.dq"], "dq"),
        helper.make_node("Mul", ["pixels.dq", "thousand"], ["scaled"], "scale"),
        helper.make_node("Reshape", ["scaled", "shape"], ["logits"], "reshape"),
    ]

    extremes = observe_extremes(graph_on_pixels(nodes, scale=1.0), [image_of(7)])

    assert extremes == {"pixels": 7.0, "scaled": 7000.0, "logits": 7000.0}


# 0 - 1 has no root; 1 / 0 is infinite. One pixel in the middle is enough: ONNX Runtime's ReduceMax passes over its NaN.
@pytest.mark.parametrize(
    ("pixel", "node"),
    [
        (0, helper.make_node("Sqrt", ["less"], ["broken"], "root")),
        (1, helper.make_node("Reciprocal", ["less"], ["broken"], "reciprocal")),
    ],
)
def test_one_value_that_is_no_number_is_named_with_its_tensor(pixel: int, node: onnx.NodeProto) -> None:
    nodes = [
        helper.make_node("Sub", ["pixels", "one"], ["less"], "less"),
        node,
        helper.make_node("Neg", ["broken"], ["logits"], "neg"),
    ]
    model = graph_on_pixels(nodes, one=1.0)

    assert set(observe_extremes(model, [image_of(9)])) == {"pixels", "less", "broken", "logits"}
    with pytest.raises(CheckFailed, match=r"^broken is NaN or infinite in the fp32 model"):
        observe_extremes(model, [image_of(9), image_of(9, pixel)])


def test_values_whose_sum_is_infinite_are_no_fault() -> None:
    model = graph_on_pixels([helper.make_node("Mul", ["pixels", "c"], ["logits"], "mul")], c=1e36)

    assert observe_extremes(model, [image_of(255)])["logits"] == pytest.approx(2.55e38, rel=1e-6)


def test_no_image_is_no_evidence() -> None:
    model = graph_on_pixels([helper.make_node("Neg", ["pixels"], ["logits"], "neg")])

    with pytest.raises(CheckFailed, match="no image"):
        observe_extremes(model, [])


def test_out_of_range_starts_at_half_of_the_format() -> None:
    extremes = {"below": 32752.0, "above": 32753.0, "far": 1e30}

    assert out_of_range(extremes, "fp16") == {"above": 32753.0, "far": 1e30}
    assert out_of_range({"end": 65504.0, "past": 65505.0}, "fp16", margin=1.0) == {"past": 65505.0}
    assert out_of_range(extremes, "bf16") == {}
    assert out_of_range({"past": 3e38}, "bf16") == {"past": 3e38}


def test_nearest_to_the_limit_are_the_ten_largest() -> None:
    extremes = {f"t{value}": float(value) for value in (3, 11, 7, 1, 5, 9, 12, 2, 10, 4, 8, 6)}

    assert list(nearest_to_limit(extremes).values()) == [12, 11, 10, 9, 8, 7, 6, 5, 4, 3]


def test_many_tensors_get_few_lines_that_count_all_of_them() -> None:
    scopes = [f"backbone.blocks.{block}.mlp.fc2" for block in range(12)] + [f"head.part_{i}" for i in range(14)]
    nodes = [helper.make_node("Neg", ["pixels"], [f"t{i}"], f"{scope}/Neg") for i, scope in enumerate(scopes)]
    model = graph_on_pixels(nodes)
    values = {f"t{i}": 40000.0 + 1000 * i for i in range(len(nodes))}

    lines = reasons(model, values, "fp16", "the canary")
    (blocks,) = reasons(model, {name: values[name] for name in list(values)[:12]}, "fp16", "the canary")

    # each part of the head has a line of its own, the blocks, whose scopes differ in a number only, share one
    assert blocks.startswith(
        "backbone.blocks.*.mlp.fc2: 12 tensors, backbone.blocks.11.mlp.fc2/Neg (t11) reaches 5.1e+"
    )
    assert lines[0].startswith("head.part_13: 1 tensors, head.part_13/Neg (t25) reaches 6.5e+04 on the canary")
    assert len(lines) == 11
    assert lines[-1] == "16 more tensors out of the range of fp16"  # 26, less 10 of the head
