"""Which products int8 takes, and what their groups are called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from segdino_deploy import export_model
from segdino_deploy.engines.precision.int8.products import ALL_KINDS, find_products, group_of, groups_of, layer_kind
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.manifest import BatchRange
from tests.conftest import GOLDEN, Golden
from tests.engines.precision.int8.helpers import small_graph

Exported = Callable[[str], Path]
LAYERS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")


def load(exported: Exported, name: str) -> onnx.ModelProto:
    return onnx.load(exported(name) / "model.onnx")


def test_weight_products_are_all_but_first_last_depthwise_and_products_of_activations() -> None:
    products = find_products(small_graph())

    assert [(p.node, p.activation, p.weight, p.channel_axis) for p in products] == [
        ("conv", "a", "w_conv", 0),
        ("one", "c", "w_one", 1),
        ("two", "c", "w_two", 1),
    ]
    assert [p.node for p in products if p.is_convolution] == ["conv"]


def test_attention_products_are_those_around_the_softmax() -> None:
    products = find_products(small_graph(), ("scores", "values"))

    assert [(p.group, p.kind, p.activation, p.right) for p in products] == [
        ("blocks.0.scores", "scores", "q", "e"),
        ("blocks.0.values", "values", "p", "e"),
    ]
    assert not any(p.is_convolution for p in products)


def test_depthwise_products_are_those_that_read_a_sum(exported: Exported) -> None:
    model = load(exported, "v2")
    sums = {node.output[0] for node in model.graph.node if node.op_type == "Add"}
    products = find_products(model, ("depthwise",))

    assert {p.group for p in products} >= {"head.inter.0", "head.inter.1", "head.inter.2", "head.inter.3"}
    depthwise = [node for node in model.graph.node if ".depthwise" in node.name]
    assert {p.node for p in products} == {node.name for node in depthwise if node.input[0] in sums}
    assert all(p.is_convolution for p in products)


def test_only_the_asked_kinds_are_found() -> None:
    assert {p.kind for p in find_products(small_graph(), ("scores",))} == {"scores"}


def test_every_block_has_six_groups_and_a_v1_head_none(exported: Exported) -> None:
    model = load(exported, "v1_convt")
    kinds = ("qkv", "scores", "values", "proj", "fc1", "fc2")

    assert [p.node for p in find_products(model)] == [
        f"backbone.blocks.{block}.{layer}/MatMul" for block in range(12) for layer in LAYERS
    ]
    assert groups_of(find_products(model, ALL_KINDS)) == [f"blocks.{b}.{kind}" for b in range(12) for kind in kinds]


def test_attention_has_a_pair_of_groups_in_every_block(golden: Golden, exported: Exported) -> None:
    model = load(exported, golden.name)
    softmaxes = sum(node.op_type == "Softmax" for node in model.graph.node)
    attention = [p.group for p in find_products(model, ("scores", "values"))]

    assert attention == [f"blocks.{block}.{kind}" for block in range(softmaxes) for kind in ("scores", "values")]


def test_v2s_mixing_layers_are_taken_but_no_resizing_matrix_and_no_last_layer(exported: Exported) -> None:
    products = [product.node for product in find_products(load(exported, "v2"))]

    mixing = [f"head.intra.{i}.pointwise/Conv" for i in range(4)]
    mixing += [f"head.inter.{i}.pointwise/Conv" for i in (1, 2, 3)]
    fourth_branch, last_block = "head.branches.3.conv.conv/Conv", "head.inter.0.block.pointwise/Conv"
    in_head = [name for name in products if name.startswith("head.")]
    assert sorted(in_head) == sorted([*mixing, fourth_branch, last_block])


def test_a_dynamic_batch_changes_no_group(exported: Exported, tmp_path: Path) -> None:
    options = ExportOptions((64, 96), batch=BatchRange(min=1, opt=2, max=4), outputs=("mask", "logits"))
    export_model(GOLDEN / "v2.pth", tmp_path / "dynamic.segdino", options)
    dynamic = onnx.load(tmp_path / "dynamic.segdino" / "model.onnx")

    fixed = groups_of(find_products(load(exported, "v2"), ALL_KINDS))

    assert groups_of(find_products(dynamic, ALL_KINDS)) == fixed


@pytest.mark.parametrize(
    ("node", "group"),
    [
        ("backbone.blocks.3.attn.qkv/MatMul", "blocks.3.qkv"),
        ("backbone.blocks.11.mlp.fc2/MatMul", "blocks.11.fc2"),
        ("model.backbone.blocks.0.mlp.w1/MatMul", "blocks.0.w1"),
        ("head.branches.0.maps/MatMul", "head.branches.0"),
        ("head.inter.0.block.pointwise/Conv", "head.inter.0"),
    ],
)
def test_a_group_is_named_after_its_block_or_the_stage_of_its_head(node: str, group: str) -> None:
    assert group_of(node) == group


def test_the_kind_of_a_layer_is_what_blocks_have_in_common() -> None:
    assert layer_kind("blocks.3.qkv") == layer_kind("blocks.11.qkv") == "qkv"
    assert layer_kind("head.intra.0") == "head.intra.0"
