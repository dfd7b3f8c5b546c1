"""From images to the int8 model, and to the same one again from the record alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from segdino_deploy import export_model
from segdino_deploy.benchmarks.graph.models import save_checkpoint
from segdino_deploy.engines.calibration.coverage import Coverage
from segdino_deploy.engines.calibration.record import Calibration, CalibrationFile, CalibrationKey
from segdino_deploy.engines.precision.int8.model import Conditioned, Found, calibrate, condition
from segdino_deploy.engines.precision.int8.targets import TARGETS, Int8Target
from segdino_deploy.errors import InputError
from segdino_deploy.export.graph import load_onnx, read_card
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.receipts import weight_products_by_type
from tests.conftest import GOLDEN_NAMES, read_golden
from tests.engines.precision.int8.helpers import run
from tests.export.fold.random_models import random_model

Exported = Callable[[str], Path]
BY_KEY = {target.key: target for target in TARGETS.values()}


def calibrated(model: onnx.ModelProto, target: Int8Target, images: np.ndarray, method: str = "minmax") -> Found:
    batches = [image[None] for image in images]
    return calibrate(model, read_card(model, Path()), target, lambda: iter(batches), len(images), method)[0]


def conditioned(model: onnx.ModelProto, target: Int8Target, found: Found) -> Conditioned:
    return condition(model, target, found.channels, found.strengths)


def written_and_read(found: Found) -> Found:
    key = CalibrationKey(model_sha256="m", images_sha256="i", method="minmax", target="t")
    coverage = Coverage(images=1, unreadable=0, sizes={}, intensity_range=(0, 255), classes={})
    entry = Calibration(
        key=key,
        image_sha256=["i"],
        coverage=coverage,
        channels=found.channels,
        strengths=found.strengths,
        ranges=found.ranges,
    )
    (again,) = CalibrationFile.model_validate_json(CalibrationFile().with_(entry).to_bytes()).calibrations
    return Found(again.channels, again.strengths, again.ranges)


@pytest.mark.parametrize("key", BY_KEY)
def test_the_record_alone_makes_the_same_model_again(key: str, exported: Exported) -> None:
    model, target = load_onnx(exported("v2_3class_sat") / "model.onnx"), BY_KEY[key]
    found = calibrated(model, target, read_golden("v2_3class_sat").image)
    first = conditioned(model, target, found)
    # what calibration itself conditioned had exactly the statistics that the record gives again
    for name, seen in found.ranges.items():
        assert seen == (first.statistics[name].range if name in first.statistics else (0.0, 1.0))

    read = written_and_read(found)
    again = conditioned(model, target, read)

    assert read == found
    assert again.quantized(read.ranges, target).SerializeToString(deterministic=True) == first.quantized(
        found.ranges, target
    ).SerializeToString(deterministic=True)


def test_an_unknown_group_is_refused_and_the_known_ones_are_named(exported: Exported) -> None:
    model, target = load_onnx(exported("v1_convt") / "model.onnx"), TARGETS["onnxruntime"]
    found = calibrated(model, target, read_golden("v1_convt").image)

    with pytest.raises(
        InputError,
        match=r"no group 'blocks.99.qkv' in this model; it has blocks.0 to blocks.11 with .qkv .proj .fc1 .fc2",
    ):
        conditioned(model, target, found).quantized(found.ranges, target, ["blocks.99.qkv"])
    with pytest.raises(InputError, match=r"no group 'blocks.0.scores'"):  # not quantized for this target
        conditioned(model, target, found).quantized(found.ranges, target, ["blocks.0.scores"])


def test_groups_left_in_float_are_the_only_ones_without_qdq(exported: Exported) -> None:
    model, target = load_onnx(exported("v1_convt") / "model.onnx"), TARGETS["openvino"]
    found = calibrated(model, target, read_golden("v1_convt").image)
    floats = ["blocks.1.fc2", "blocks.2.values"]

    result = conditioned(model, target, found).quantized(found.ranges, target, floats)

    dequantized = {
        node.name
        for node in result.graph.node
        if node.op_type == "MatMul" and all(operand.endswith(".dq") for operand in node.input)
    }
    kept = {p.node for p in conditioned(model, target, found).products} - dequantized
    assert kept == {"backbone.blocks.1.mlp.fc2/MatMul", "backbone.blocks.2.attn/MatMul.2"}


def test_histogram_methods_stay_within_the_extremes_and_leave_attention_at_them(exported: Exported) -> None:
    model, target = load_onnx(exported("v1_convt") / "model.onnx"), TARGETS["openvino"]
    images = read_golden("v1_convt").image
    extremes, clipped = (calibrated(model, target, images, method).ranges for method in ("minmax", "mse"))

    products = conditioned(model, target, calibrated(model, target, images)).products
    weighted = {p.activation for p in products if p.kind == "weight"}
    assert extremes.keys() == clipped.keys()
    for name, (low, high) in clipped.items():
        widest = (min(extremes[name][0], 0), max(extremes[name][1], 0)) if name in weighted else extremes[name]
        assert widest[0] <= low <= high <= widest[1]
        if name not in weighted:
            assert (low, high) == extremes[name]
    assert any(clipped[name] != extremes[name] for name in weighted)


@pytest.mark.parametrize("name", GOLDEN_NAMES)
def test_int8_keeps_the_golden_masks_on_every_target(name: str, exported: Exported) -> None:
    golden = read_golden(name)
    model = load_onnx(exported(name) / "model.onnx")
    for target in BY_KEY.values():
        found = calibrated(model, target, golden.image)
        made = conditioned(model, target, found)
        result = made.quantized(found.ranges, target)

        logits = run(result, golden.image[:1])

        assert np.abs(logits - golden.logits[:1]).max() < 0.1 * max(1.0, float(np.abs(golden.logits).max())), target
        if target.kinds == ("weight",):
            assert weight_products_by_type(result)["int8"] == len(made.products)


def test_two_smoothed_layers_of_one_stage_keep_a_strength_each(tmp_path: Path) -> None:
    # 9 * 32 > 32 * (64 + 9 * 32) / 64: T2 does not merge, so a branch has a projection and maps, both smoothable
    checkpoint = save_checkpoint(random_model("v2", 3, "group", features=32, dim=64).float(), tmp_path / "v2.pth")
    bundle = export_model(checkpoint, tmp_path / "v2.segdino", ExportOptions(input_size=(64, 64)), taps=(0, 1, 2, 3))
    model, target = load_onnx(bundle.file("model.onnx")), TARGETS["openvino"]
    images = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)

    found = calibrated(model, target, images)

    ours = conditioned(model, target, found)
    assert {"head.branches.0.projection", "head.branches.0.maps"} <= found.strengths.keys()
    for name, seen in found.ranges.items():
        assert seen == (ours.statistics[name].range if name in ours.statistics else (0.0, 1.0))
