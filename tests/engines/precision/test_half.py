"""16-bit models by evidence, run in true 16-bit arithmetic (ONNX Runtime's CPU provider computes fp16 in fp32)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from segdino_deploy.engines.precision.cast import cast_model
from segdino_deploy.engines.precision.extremes import observe_extremes, out_of_range
from segdino_deploy.engines.precision.half import make_half_model
from segdino_deploy.export.graph import value_types
from segdino_deploy.manifest import TypedModel
from segdino_deploy.receipts import typed_model_record
from tests.conftest import read_golden
from tests.engines.precision.test_extremes import graph_on_pixels, image_of


class LayerNormalization(OpRun):
    """ONNX's definition with its `stash_type`, which onnx's own reference ignores: it computes in the input's type."""

    def _run(self, x, scale, bias=None, axis=None, epsilon=None, stash_type=None):  # type: ignore[no-untyped-def]
        assert axis in (-1, x.ndim - 1)
        inner = x.astype(np.float32) if stash_type == TensorProto.FLOAT else x
        centred = inner - inner.mean(-1, keepdims=True)
        variance = (centred * centred).mean(-1, keepdims=True)
        normal = (centred / np.sqrt(variance + inner.dtype.type(epsilon))).astype(x.dtype)
        return (normal * scale + (x.dtype.type(0) if bias is None else bias),)


def logits_of(model: onnx.ModelProto, image: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        logits: np.ndarray = ReferenceEvaluator(model, new_ops=[LayerNormalization]).run(["logits"], {"image": image})[
            0
        ]
    return logits


def lines_about(precision: str, kept: list[str]) -> list[str]:
    return [line for line in kept if f"{precision} ends at" in line]


def with_residual_stream_times(model: onnx.ModelProto, factor: float) -> onnx.ModelProto:
    """The same masks from a residual stream `factor` times as large: each LayerNormalization takes the factor out.

    What the stream is the sum of is multiplied: the tokens, and what each block's proj and fc2 give.
    """
    result = onnx.ModelProto.FromString(model.SerializeToString())
    nodes = []
    for node in result.graph.node:
        nodes.append(node)
        if re.search(r"^backbone/Concat$|(attn\.proj|mlp\.fc2)/Add$", node.name):
            value, node.output[0] = node.output[0], f"{node.output[0]}.once"
            nodes.append(helper.make_node("Mul", [node.output[0], "factor"], [value], f"{node.name}.times"))
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    result.graph.initializer.append(numpy_helper.from_array(np.array(factor, np.float32), "factor"))
    return result


@pytest.fixture
def loud(exported: Callable[[str], Path]) -> onnx.ModelProto:
    """v1_convt with a residual stream that reaches 8.3e4 (7.6 times 11000)."""
    return with_residual_stream_times(onnx.load(exported("v1_convt") / "model.onnx"), 11000.0)


def test_a_residual_stream_that_leaves_fp16_stays_in_fp32_and_the_masks_stay(loud: onnx.ModelProto) -> None:
    golden = read_golden("v1_convt")
    images = [image[None] for image in golden.image]
    assert np.abs(logits_of(loud, images[0]) - golden.logits[:1]).max() < 1e-4  # in fp32 it is the golden model
    plain, _ = cast_model(loud, "fp16")
    assert np.isnan(logits_of(plain, images[0])).any()

    half = make_half_model(loud, "fp16", images, "two images")

    logits = logits_of(half.model, images[0])
    assert np.abs(logits - golden.logits[:1]).max() < 0.005  # the golden model itself in fp16: 0.001
    assert ((logits > 0) == (golden.logits[:1] > 0)).mean() > 0.995
    assert max(half.largest_values.values()) > 65504


def test_a_tensor_out_of_range_exists_in_fp32_only_and_the_rest_in_fp16(loud: onnx.ModelProto) -> None:
    extremes = observe_extremes(loud, [read_golden("v1_convt").image[:1]])
    large = out_of_range(extremes, "fp16")

    typed, kept = cast_model(loud, "fp16", extremes, "one image")

    types = value_types(typed)
    assert len(large) > 20
    for name in large:
        assert types[name] == TensorProto.FLOAT
        assert f"{name}.float16" not in types
    # q, k, v and fc1 of every block read a normalised stream, which is small
    small = [node for node in typed.graph.node if re.search(r"(attn\.qkv|mlp\.fc1)/MatMul$", node.name)]
    assert len(small) == 24
    assert {types[node.output[0]] for node in small} == {TensorProto.FLOAT16}
    lines = lines_about("fp16", kept)
    assert 1 <= len(lines) <= 10
    assert sum(int(count) for line in lines for count in re.findall(r": (\d+) tensors", line)) == len(large)
    assert any(line.startswith("backbone.blocks.*: ") for line in lines)


def test_bf16_keeps_nothing_more(loud: onnx.ModelProto) -> None:
    plain, kept = cast_model(loud, "bf16")

    half = make_half_model(loud, "bf16", [read_golden("v1_convt").image[:1]], "one image")

    assert half.kept == kept
    assert half.model == plain
    assert max(half.largest_values.values()) > 65504  # though it was looked at


def test_massive_activations_of_two_channels_pass_through_layer_normalization_in_fp16() -> None:
    """+-500 in two channels of 24: squares of 250000 do not exist in fp16, the values themselves do."""
    offset = np.zeros(24, np.float32)
    offset[[3, 17]] = 500.0, -500.0
    nodes = [
        helper.make_node("Reshape", ["pixels", "rows"], ["grid"], "reshape"),  # [8, 24]
        helper.make_node("Mul", ["grid", "scale"], ["stream"], "mul"),
        helper.make_node("Add", ["stream", "offset"], ["massive"], "block/Add"),
        helper.make_node("LayerNormalization", ["massive", "gamma"], ["normal"], "block/norm"),
        helper.make_node("Neg", ["normal"], ["small"], "neg"),
        helper.make_node("Mul", ["small", "one"], ["logits"], "last"),
    ]
    model = graph_on_pixels(nodes, (8, 24), scale=0.01, offset=offset, gamma=np.full(24, 10.0), one=1.0)
    model.graph.initializer.append(numpy_helper.from_array(np.array([8, 24]), "rows"))
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)

    half = make_half_model(model, "fp16", [image], "one image")

    types = value_types(half.model)
    assert types["massive"] == types["normal"] == TensorProto.FLOAT16
    assert lines_about("fp16", half.kept) == []
    expected = logits_of(model, image)
    assert np.abs(logits_of(half.model, image) - expected).max() < 2e-3 * np.abs(expected).max()
    # the test can see an overflow: the same node with its arithmetic in 16 bits loses every value
    in_half = onnx.ModelProto.FromString(half.model.SerializeToString())
    norm = next(node for node in in_half.graph.node if node.op_type == "LayerNormalization")
    norm.attribute.append(helper.make_attribute("stash_type", TensorProto.FLOAT16))
    assert not logits_of(in_half, image).any()  # divided by an infinite deviation


def test_the_receipt_names_tensor_value_limit_and_images() -> None:
    nodes = [
        helper.make_node("Mul", ["pixels", "up"], ["big"], "blocks.3/Mul"),
        helper.make_node("Mul", ["big", "down"], ["small"], "blocks.3/Mul.2"),
        helper.make_node("Mul", ["small", "one"], ["logits"], "last"),
    ]
    model = graph_on_pixels(nodes, up=300.0, down=0.01, one=1.0)

    half = make_half_model(model, "fp16", [image_of(1, 255)], "64 calibration images")
    record = typed_model_record(
        half.model,
        "model.fp16.onnx",
        "fp16",
        parity=[],
        kept_fp32=half.kept,
        largest_values=half.largest_values,
        checked_on=half.checked_on,
    )

    record = TypedModel.model_validate_json(record.model_dump_json())
    assert lines_about("fp16", record.kept_fp32) == [  # 255 * 300
        "blocks.3/Mul (big): reaches 7.65e+04 on 64 calibration images, fp16 ends at 65504 (kept from 32752 on)"
    ]
    assert record.largest_values == pytest.approx({"big": 76500.0, "small": 765.0, "logits": 765.0, "pixels": 255.0})
    assert list(record.largest_values) == ["big", "small", "logits", "pixels"]
    assert record.checked_on == "64 calibration images"


def test_what_is_in_fp32_anyway_is_not_named() -> None:
    nodes = [
        helper.make_node("Neg", ["pixels"], ["small"], "neg"),
        helper.make_node("Mul", ["small", "up"], ["logits"], "last"),
    ]
    model = graph_on_pixels(nodes, up=1000.0)

    half = make_half_model(model, "fp16", [image_of(255)], "one image")

    assert half.largest_values["logits"] == 255000.0
    assert half.kept == cast_model(model, "fp16")[1]
    assert value_types(half.model)["small"] == TensorProto.FLOAT16
