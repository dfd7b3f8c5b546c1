"""16-bit models: what the ONNX file itself says is computed in which type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from segdino_deploy.engines.precision.cast import cast_model
from segdino_deploy.errors import CheckFailed
from segdino_deploy.export.graph import value_types
from segdino_deploy.receipts import weight_products_by_type
from tests.conftest import Golden

Exported = Callable[[str], Path]


def load(exported: Exported, name: str) -> onnx.ModelProto:
    return onnx.load(exported(name) / "model.onnx")


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
