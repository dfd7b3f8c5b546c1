"""Counted operations against PyTorch's own counter, and by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from segdino_deploy import load_segdino
from segdino_deploy.export.graph import select_outputs
from segdino_deploy.export.operations import count_multiply_adds, count_stages, stage_of
from segdino_deploy.export.plain import trace_plain
from segdino_deploy.manifest import BatchRange
from tests.conftest import GOLDEN, IMAGENET_MEAN, IMAGENET_STD


@pytest.mark.parametrize("name", ["v1_convt", "fine_grained", "v2_initial"])
def test_plain_graph_counts_what_pytorch_counts(name: str) -> None:
    model = load_segdino(GOLDEN / f"{name}.pth")
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # the fused kernel is not counted
        model(torch.zeros(1, 3, 64, 96))

    graph = trace_plain(model, (64, 96), BatchRange(), IMAGENET_MEAN, IMAGENET_STD, 0.5)
    stages = count_stages(select_outputs(graph, ["mask"]))

    assert set(stages) == {"output", "backbone", "head"}
    assert 2 * sum(stage.multiply_adds for stage in stages.values()) == counter.get_total_flops()
    assert 2 * stages["head"].multiply_adds == sum(counter.get_flop_counts()["SegDINO.head"].values())


def test_folded_heads_are_a_few_small_convolutions(exported: Callable[[str], Path]) -> None:
    # D = 32, one class, 4 x 6 patches; v1_paper: one 3x3 from 4 D; v1_convt: one from D to 16, one from 3 D
    for name, expected in (("v1_paper", 4 * 32 * 9 * 24), ("v1_convt", (32 * 16 + 3 * 32) * 9 * 24)):
        stages = count_stages(onnx.load(exported(name) / "model.onnx"))

        assert stages["head"].multiply_adds == expected


def test_folding_saves_nodes_of_the_backbone_and_most_of_v2s_head(exported: Callable[[str], Path]) -> None:
    model = load_segdino(GOLDEN / "v2.pth")
    plain = count_stages(trace_plain(model, (64, 96), BatchRange(), IMAGENET_MEAN, IMAGENET_STD, 0.5))

    folded = count_stages(onnx.load(exported("v2") / "model.onnx"))

    assert folded["head"].multiply_adds < 0.3 * plain["head"].multiply_adds
    assert folded["backbone"].multiply_adds == plain["backbone"].multiply_adds
    assert folded["backbone"].operations < plain["backbone"].operations


@pytest.mark.parametrize(
    ("operator", "attributes", "shapes", "expected"),
    [
        ("MatMul", {}, ([2, 3, 5], [5, 7], [2, 3, 7]), 2 * 3 * 7 * 5),
        ("Gemm", {"transA": 1}, ([5, 3], [5, 7], [3, 7]), 3 * 7 * 5),
        ("Conv", {"group": 2}, ([1, 4, 8, 8], [6, 2, 3, 3], [1, 6, 8, 8]), 6 * 64 * 2 * 9),
        ("ConvTranspose", {"strides": [2, 2]}, ([1, 4, 8, 8], [4, 3, 2, 2], [1, 3, 16, 16]), 4 * 64 * 3 * 4),
        ("Relu", {}, ([2, 3], [2, 3], [2, 3]), 0),
    ],
)
def test_multiply_adds_of_single_operators(
    operator: str, attributes: dict[str, object], shapes: tuple[list[int], ...], expected: int
) -> None:
    node = helper.make_node(operator, ["a", "b"], ["y"], **attributes)

    assert count_multiply_adds(node, dict(zip(("a", "b", "y"), shapes, strict=True))) == expected


def test_a_symbolic_batch_counts_as_one_image() -> None:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 5])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4, 7])]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [5, 7], [0.0] * 35)
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"], "head/MatMul")], "g", inputs, outputs)
    graph.initializer.append(weight)

    stages = count_stages(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]))

    assert stages["head"].multiply_adds == 4 * 5 * 7


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("backbone.blocks.0.attn.qkv/MatMul", "backbone"),
        ("model.head.projects.0/Conv", "head"),
        ("head_polyp-a.branches.1/MatMul.2", "head polyp-a"),
        ("output/Cast", "output"),
    ],
)
def test_a_nodes_name_says_its_stage(name: str, stage: str) -> None:
    assert stage_of(name) == stage


def test_every_node_is_named_once_and_by_its_module(exported: Callable[[str], Path]) -> None:
    names = [node.name for node in onnx.load(exported("v2") / "model.onnx").graph.node]

    assert len(set(names)) == len(names)
    assert "backbone.blocks.11.mlp.fc2/MatMul" in names
    assert "head.branches.0.maps/MatMul" in names
    assert {stage_of(name) for name in names} == {"backbone", "head", "output"}
