"""Which weights a retrained head changes, from real exports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from segdino_deploy.engines.build.tensorrt import mark_refittable
from segdino_deploy.engines.lowering import respell
from segdino_deploy.engines.precision.cast import cast_model
from segdino_deploy.engines.tensorrt.flavours import FLAVOURS
from segdino_deploy.engines.tensorrt.messages import Messages
from segdino_deploy.engines.tensorrt.weights import changed_weights, head_weights
from segdino_deploy.errors import InputError
from segdino_deploy.export.graph import is_resizing_matrix, load_onnx
from tests.engines.tensorrt.helpers import parse

Exported = Callable[[str], Path]


def load(exported: Exported, name: str) -> onnx.ModelProto:
    return load_onnx(exported(name) / "model.onnx")


def with_changed(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    result = onnx.ModelProto.FromString(model.SerializeToString())
    for tensor in result.graph.initializer:
        if tensor.name in names:
            array = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array((array + np.asarray(1, array.dtype)), tensor.name))
    return result


@pytest.mark.parametrize("name", ["v1_paper", "v1_convt", "fine_grained", "v2"])
def test_heads_own_their_weights_and_nothing_of_the_backbone(name: str, exported: Exported) -> None:
    model = load(exported, name)
    weights = head_weights(model)

    assert weights
    assert not any(weight.startswith("backbone") or is_resizing_matrix(weight) for weight in weights)
    in_backbone = {i for node in model.graph.node if node.name.startswith("backbone") for i in node.input}
    assert not in_backbone & set(weights)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("name", ["v1_paper", "v1_convt", "fine_grained", "v2"])
def test_nvidias_network_knows_all_of_them_by_name(name: str, precision: str, exported: Exported) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    api = FLAVOURS["tensorrt-rtx"].load()
    fp32 = load(exported, name)
    model = fp32 if precision == "fp32" else cast_model(fp32, precision)[0]
    model = respell(model, ["tap-norms-as-one"])
    _builder, network, _parser, parsed = parse(api, Messages(api), model)
    assert parsed

    mark_refittable(network, head_weights(model))


def test_a_retrained_head_changes_exactly_its_weights(exported: Exported) -> None:
    model = load(exported, "v2")
    weights = head_weights(model)

    assert changed_weights(model, model) == []
    assert changed_weights(model, with_changed(model, weights)) == weights
    assert changed_weights(model, with_changed(model, weights[2:4])) == weights[2:4]


def test_a_changed_backbone_is_refused_with_the_cure(exported: Exported) -> None:
    model = load(exported, "v2")
    one = next(tensor.name for tensor in model.graph.initializer if tensor.name.startswith("backbone.blocks.0"))

    with pytest.raises(InputError) as caught:
        changed_weights(model, with_changed(model, [one, head_weights(model)[0]]))
    assert str(caught.value) == (
        f"the new checkpoint differs in more than its head (1 other weights, such as {one}): "
        "export the checkpoint into a new bundle and build its engines"
    )


def test_a_folded_constant_of_the_backbone_is_called_after_its_module(exported: Exported) -> None:
    model = load(exported, "v2")
    names = {tensor.name for tensor in model.graph.initializer if not tensor.name.startswith("backbone")}
    product = next(n for n in model.graph.node if n.op_type == "MatMul" and "blocks.0.mlp.fc1" in n.name)
    (folded,) = names & set(product.input)

    with pytest.raises(InputError, match=r"such as one of backbone\.blocks\.0\.mlp\.fc1\)"):
        changed_weights(model, with_changed(model, [folded]))


def test_another_family_is_refused(exported: Exported) -> None:
    with pytest.raises(InputError, match="the new checkpoint makes another graph, not only other weights"):
        changed_weights(load(exported, "v2"), load(exported, "v1_convt"))
