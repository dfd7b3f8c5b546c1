"""T1 with channels last is the same function, and its maps can be quantized."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from segdino_deploy import export_model
from segdino_deploy.engines.precision.int8.layout import upsampling_channels_last
from segdino_deploy.engines.precision.int8.products import find_products
from segdino_deploy.engines.run.onnxruntime import open_session
from segdino_deploy.export.graph import load_onnx
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.manifest import BatchRange
from tests.conftest import GOLDEN, read_golden
from tests.engines.precision.int8.helpers import relative_difference, run

Exported = Callable[[str], Path]


def respelled(model: onnx.ModelProto) -> onnx.ModelProto:
    result = upsampling_channels_last(model)
    assert result is not None
    onnx.checker.check_model(result, full_check=True)
    return result


@pytest.mark.parametrize("name", ["v2", "v2_3class_sat"])
def test_channels_last_is_the_same_function(name: str, exported: Exported) -> None:
    model, images = load_onnx(exported(name) / "model.onnx"), read_golden(name).image

    assert relative_difference(run(respelled(model), images), run(model, images)) < 1e-5


def test_it_holds_for_any_batch(tmp_path: Path) -> None:
    golden = read_golden("v2_3class_sat")
    options = ExportOptions(golden.input_hw, batch=BatchRange(min=1, opt=2, max=4), outputs=("mask", "logits"))
    export_model(GOLDEN / "v2_3class_sat.pth", tmp_path / "dynamic.segdino", options)
    model = load_onnx(tmp_path / "dynamic.segdino" / "model.onnx")

    session = open_session(respelled(model).SerializeToString())
    for images in (golden.image, golden.image[:1], golden.image[[0, 1, 0]]):
        expected = open_session(model.SerializeToString()).run(["logits"], {"image": images})[0]
        assert relative_difference(session.run(["logits"], {"image": images})[0], expected) < 1e-5


def test_large_maps_are_resized_in_tiles_with_the_same_result(tmp_path: Path) -> None:
    options = ExportOptions((256, 288), batch=BatchRange(min=1, opt=1, max=2), outputs=("mask", "logits"))
    export_model(GOLDEN / "v2.pth", tmp_path / "large.segdino", options)
    model = load_onnx(tmp_path / "large.segdino" / "model.onnx")
    images = np.random.default_rng(0).integers(0, 256, (2, 256, 288, 3), dtype=np.uint8)

    tiled = respelled(model)
    names = {node.name for node in tiled.graph.node}
    assert {"head.branches.0.read_columns/Gather", "head.branches.0.read_rows/Gather"} <= names
    found, expected = (
        open_session(m.SerializeToString()).run(["logits"], {"image": images})[0] for m in (tiled, model)
    )
    assert relative_difference(found, expected) < 1e-5


def test_a_graph_without_upsampled_convolutions_is_left_alone(exported: Exported) -> None:
    assert upsampling_channels_last(load_onnx(exported("v1_convt") / "model.onnx")) is None


def test_its_maps_become_products_of_their_branches_and_nothing_else_changes(exported: Exported) -> None:
    model = load_onnx(exported("v2") / "model.onnx")
    before = [(product.group, product.node) for product in find_products(model)]
    after = [(product.group, product.node) for product in find_products(respelled(model))]

    added = [entry for entry in after if entry not in before]
    assert added == [(f"head.branches.{i}", f"head.branches.{i}.maps/MatMul") for i in range(3)]
    assert [entry for entry in after if entry not in added] == before
