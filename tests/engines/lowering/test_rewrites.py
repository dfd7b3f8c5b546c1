"""Every spelling computes upstream's own logits, and is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from segdino_deploy.engines.lowering import LOWERINGS
from segdino_deploy.engines.lowering.attention import (
    attention_operator,
    onnxruntime_attention,
    rotary_operator,
    split_qkv,
)
from segdino_deploy.engines.lowering.elementwise import final_resize_as_products, gelu_by_erf
from segdino_deploy.engines.lowering.group_norm import group_norm_as_layer_norm, group_norm_by_moments
from segdino_deploy.engines.lowering.tap_norms import tap_norms_as_one
from segdino_deploy.engines.precision.cast import cast_model
from tests.conftest import GOLDEN_NAMES, read_golden

Exported = Callable[[str], Path]
WITH_GROUP_NORM = ("v2", "v2_3class_sat")


def counts(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize("name", ["v1_convt", "v1_convt_swiglu", "v2", "v2_initial", "fine_grained"])
@pytest.mark.parametrize("lowering", list(LOWERINGS))
def test_every_spelling_gives_upstreams_logits(name: str, lowering: str, exported: Exported) -> None:
    lowered = LOWERINGS[lowering].rewrite(onnx.load(exported(name) / "model.onnx"))

    if lowering.startswith("group-norm") and name not in WITH_GROUP_NORM:
        assert lowered is None
        return
    if lowering == "gelu-erf" and name == "v1_convt_swiglu":
        assert lowered is None
        return
    assert lowered is not None
    onnx.checker.check_model(lowered)
    golden = read_golden(name)
    session = ort.InferenceSession(lowered.SerializeToString(), providers=["CPUExecutionProvider"])
    logits = session.run(["logits"], {"image": golden.image[:1]})[0]
    assert np.abs(logits - golden.logits[:1]).max() < 1e-4


@pytest.mark.parametrize("name", ["v1_convt", "v2"])
def test_taps_are_normalised_at_once(name: str, exported: Exported) -> None:
    model = onnx.load(exported(name) / "model.onnx")

    lowered = tap_norms_as_one(model)

    assert lowered is not None
    assert counts(lowered)["LayerNormalization"] == counts(model)["LayerNormalization"] - 3  # four taps
    assert tap_norms_as_one(lowered) is None


def test_attention_operator_takes_the_place_of_both_products(exported: Exported) -> None:
    model = onnx.load(exported("v1_convt") / "model.onnx")

    lowered = attention_operator(model)

    assert lowered is not None
    assert lowered.opset_import[0].version == 23
    before, after = counts(model), counts(lowered)
    assert after["Attention"] == before["Softmax"] == 12
    assert after["Softmax"] == 0
    assert after["MatMul"] == before["MatMul"] - 24
    onnx.checker.check_model(lowered, full_check=True)


def test_attention_operator_keeps_the_softmax_in_fp32_in_fp16_models(exported: Exported) -> None:
    typed, _ = cast_model(onnx.load(exported("v1_convt") / "model.onnx"), "fp16")

    lowered = attention_operator(typed)

    assert lowered is not None
    node = next(node for node in lowered.graph.node if node.op_type == "Attention")
    attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    assert attributes == {"scale": 1.0, "softmax_precision": TensorProto.FLOAT}
    assert counts(lowered)["Cast"] == counts(typed)["Cast"] - 24  # around 12 softmaxes


def test_onnxruntimes_attention_needs_no_transposed_heads(exported: Exported) -> None:
    model = onnx.load(exported("v1_convt") / "model.onnx")

    lowered = onnxruntime_attention(model)

    assert lowered is not None
    after = counts(lowered)
    assert after["MultiHeadAttention"] == 12
    assert after["RotaryEmbedding"] == 24
    assert after["Transpose"] == counts(model)["Transpose"] - 5 * 12  # q, k, v, k again, and the heads back


def test_onnxruntimes_attention_is_fp32_only(exported: Exported) -> None:
    typed, _ = cast_model(onnx.load(exported("v1_convt") / "model.onnx"), "fp16")

    assert onnxruntime_attention(typed) is None


def test_rotary_operator_takes_the_place_of_products_with_the_tables(exported: Exported) -> None:
    model = onnx.load(exported("v1_convt") / "model.onnx")

    lowered = rotary_operator(model)

    assert lowered is not None
    before, after = counts(model), counts(lowered)
    assert after["RotaryEmbedding"] == 24
    assert (before["Mul"] - after["Mul"], before["Concat"] - after["Concat"]) == (48, 24)
    onnx.checker.check_model(lowered, full_check=True)


def test_split_qkv_keeps_every_weight(exported: Exported) -> None:
    model = onnx.load(exported("v1_convt") / "model.onnx")

    lowered = split_qkv(model)

    assert lowered is not None
    assert counts(lowered)["MatMul"] == counts(model)["MatMul"] + 2 * 12
    assert sum(len(node.output) == 3 for node in lowered.graph.node if node.op_type == "Split") == 0
    weight = numpy_helper.to_array(next(t for t in model.graph.initializer if list(t.dims) == [32, 96]))
    parts = [
        numpy_helper.to_array(t) for t in lowered.graph.initializer if t.name.endswith(".weight") and "/" in t.name
    ]
    assert any(np.array_equal(weight[:, 32:64], part) for part in parts)


@pytest.mark.parametrize("rewrite", [group_norm_as_layer_norm, group_norm_by_moments])
def test_group_norm_of_a_shifted_map(
    rewrite: Callable[[onnx.ModelProto], onnx.ModelProto | None],
) -> None:
    """Against PyTorch's own GroupNorm, with a mean of ten deviations and a batch of two."""
    import torch

    from segdino_deploy.export.trace import trace_module

    torch.manual_seed(0)
    norm = torch.nn.GroupNorm(4, 8).requires_grad_(False)
    norm.weight.copy_(torch.randn(8))
    norm.bias.copy_(torch.randn(8))
    x = 10 + torch.randn(2, 8, 5, 7)
    model = trace_module(norm, (x,), ["x"], ["y"])

    lowered = rewrite(model)

    assert lowered is not None
    assert counts(lowered)["InstanceNormalization"] == 0
    session = ort.InferenceSession(lowered.SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.abs(session.run(None, {"x": x.numpy()})[0] - norm(x).numpy()).max() < 2e-4


def test_final_resize_is_the_only_one_respelled(exported: Exported) -> None:
    model = onnx.load(exported("v2") / "model.onnx")

    lowered = final_resize_as_products(model)

    assert lowered is not None
    assert counts(lowered)["Resize"] == counts(model)["Resize"] - 1 == 3
    assert "logits" in {name for node in lowered.graph.node if node.op_type == "MatMul" for name in node.output}


def test_gelu_by_erf_leaves_no_gelu(exported: Exported) -> None:
    model = onnx.load(exported("v2") / "model.onnx")

    lowered = gelu_by_erf(model)

    assert lowered is not None
    assert counts(lowered)["Gelu"] == 0
    assert counts(lowered)["Erf"] == counts(model)["Gelu"] == 20


@pytest.mark.parametrize("name", GOLDEN_NAMES)
def test_the_given_model_is_never_changed(name: str, exported: Exported) -> None:
    model = onnx.load(exported(name) / "model.onnx")
    before = model.SerializeToString(deterministic=True)

    for lowering in LOWERINGS.values():
        lowering.rewrite(model)

    assert model.SerializeToString(deterministic=True) == before
