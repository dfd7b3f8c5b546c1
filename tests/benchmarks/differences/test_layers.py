"""Layers of bundles: families and precisions, planted defects, and what cannot be compared."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from segdino_deploy.benchmarks.differences.layers import compare_layers, why_no_layers
from segdino_deploy.bundle import Bundle
from segdino_deploy.errors import CheckFailed, InputError
from segdino_deploy.manifest import Precision
from tests.benchmarks.differences.conftest import Typed, add_typed_engine
from tests.conftest import read_golden

ROUNDING = {"fp16": 2.0**-11, "bf16": 2.0**-8}  # largest relative error of rounding one number
PROJECTION, EXPANSION, LAST = (
    f"backbone.blocks.{product}/MatMul" for product in ("2.attn.proj", "0.mlp.fc1", "11.mlp.fc2")
)
QKV = "backbone.blocks.7.attn.qkv/MatMul"


def scale_weight(bundle: Bundle, engine: str, node_name: str, factor: float) -> None:
    """Plants a defect: multiplies the weight of a node of the typed file, an int8 one by its scales."""
    path = bundle.file(bundle.manifest.engines[engine].source)
    model = onnx.load(path)
    read = next(node for node in model.graph.node if node.name == node_name).input[1]
    name = f"{read.removesuffix('.dq')}.scale" if read.endswith(".dq") else read
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    array = numpy_helper.to_array(weight)
    with np.errstate(over="ignore"):  # a defect may leave the type's range
        scaled = (array.astype(np.float32) * factor).astype(array.dtype)
    weight.CopyFrom(numpy_helper.from_array(scaled, name))
    onnx.save(model, path)


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("v1_paper", "fp16"),
        ("v1_convt_swiglu", "fp16"),
        ("v2", "fp16"),
        ("v2_initial", "fp16"),
        ("fine_grained", "fp16"),
        ("v1_convt", "bf16"),
        ("v2", "bf16"),
    ],
)
def test_every_layer_of_a_16_bit_model_is_found_and_close(name: str, precision: Precision, typed: Typed) -> None:
    bundle, engine = typed(name, "openvino", precision)

    layers = compare_layers(bundle, engine, read_golden(name).image)

    assert layers.file == f"model.{precision}.onnx"
    assert layers.images == 2
    named = [layer.name for layer in layers.layers]
    feed_forward = ["mlp.w1", "mlp.w2", "mlp.w3"] if "swiglu" in name else ["mlp.fc1", "mlp.fc2"]
    products = {f"backbone.blocks.{i}.{p}/MatMul" for i in range(12) for p in ("attn.qkv", "attn.proj", *feed_forward)}
    assert products <= set(named)
    assert named[-1] == "output/Resize"
    # The first layer rounds pixels, weights and its result; errors grow behind it, but nothing turns away.
    assert 0 < layers.layers[0].relative_error <= 3 * ROUNDING[precision]
    assert all(layer.cosine > 1 - 500 * ROUNDING[precision] ** 2 for layer in layers.layers)


@pytest.mark.parametrize(
    ("name", "backend"),
    [("v1_convt", "tensorrt"), ("v1_convt", "openvino"), ("v1_convt", "onnxruntime"), ("v2", "openvino")],
)
def test_int8_is_compared_with_the_values_that_it_rounds(name: str, backend: str, typed: Typed) -> None:
    bundle, engine = typed(name, backend, "int8")

    layers = compare_layers(bundle, engine, read_golden(name).image)

    assert len(layers.layers) > 150
    # Nothing in front of the first quantized product differs, centred and smoothed as these values may be.
    assert [(layer.operator, layer.relative_error) for layer in layers.layers[:3] if layer.relative_error == 0] == [
        ("Conv", 0.0),
        ("LayerNormalization", 0.0),
    ]
    assert all(layer.cosine > 0.9 for layer in layers.layers)
    assert layers.departs_most.split("/")[1].split(".")[0] in ("MatMul", "Conv")  # what int8 computes


@pytest.mark.parametrize(
    ("name", "backend", "precision", "node", "factor"),
    [
        ("v1_convt", "tensorrt", "fp16", PROJECTION, 0.0),
        ("v1_convt", "tensorrt", "fp16", EXPANSION, 1.3),
        ("v1_convt", "openvino", "bf16", LAST, 0.0),
        ("v2", "tensorrt", "fp16", PROJECTION, 1.3),
        ("v2", "openvino", "bf16", EXPANSION, 0.0),
        ("v2", "onnxruntime", "fp16", "head.intra.1.pointwise/Conv", 0.0),
        ("v1_convt", "tensorrt", "int8", QKV, 1.3),
        ("v1_convt", "openvino", "int8", QKV, 0.0),
        ("v2", "openvino", "int8", PROJECTION, 1.3),
    ],
)
def test_a_planted_defect_is_named(
    name: str, backend: str, precision: Precision, node: str, factor: float, typed_copy: Typed
) -> None:
    bundle, engine = typed_copy(name, backend, precision)
    scale_weight(bundle, engine, node, factor)

    assert compare_layers(bundle, engine, read_golden(name).image).departs_most == node


def test_several_heads_are_compared_down_to_their_logits(joint_copy: Bundle) -> None:
    engine = add_typed_engine(joint_copy, "onnxruntime", "fp16")

    named = [layer.name for layer in compare_layers(joint_copy, engine, read_golden("v1_convt").image).layers]

    assert sum(name.startswith("output/Resize") for name in named) == 2
    assert len(named) == len(set(named))


def test_progress_ends_at_its_total(typed: Typed) -> None:
    bundle, engine = typed("v2", "openvino", "fp16")
    seen: list[tuple[int, int]] = []

    layers = compare_layers(bundle, engine, read_golden("v2").image, lambda *count: seen.append(count))

    total = 2 * len(layers.layers)
    assert seen[-1] == (total, total)
    assert all(before < after for (before, _), (after, _) in pairwise(seen))


def test_a_value_past_the_range_is_named(typed_copy: Typed) -> None:
    bundle, engine = typed_copy("v1_convt", "tensorrt", "fp16")
    scale_weight(bundle, engine, EXPANSION, 1e9)

    with pytest.raises(
        CheckFailed, match=r"^backbone\.blocks\.0\.mlp\.fc1/MatMul is NaN or infinite in the typed model"
    ):
        compare_layers(bundle, engine, read_golden("v1_convt").image)


def test_an_fp32_engine_has_nothing_to_compare(typed: Typed) -> None:
    bundle, engine = typed("v1_convt", "openvino", "fp32")

    assert why_no_layers(bundle, engine).startswith("was built from model.onnx itself")
    with pytest.raises(InputError, match=r"^openvino-fp32: was built from model\.onnx itself"):
        compare_layers(bundle, engine, read_golden("v1_convt").image)


def test_an_unknown_engine_is_refused(typed: Typed) -> None:
    bundle, _ = typed("v1_convt", "openvino", "fp32")

    with pytest.raises(InputError, match=r"nothing-fp8: is no engine of v1_convt\.segdino"):
        compare_layers(bundle, "nothing-fp8", read_golden("v1_convt").image)


def test_an_int8_engine_needs_the_calibration_it_was_built_with(typed: Typed) -> None:
    bundle, engine = typed("v1_convt", "openvino", "int8")
    assert why_no_layers(bundle, engine) == ""

    key = "int8-openvino"
    other = bundle.manifest.onnx[key].model_copy(update={"calibration_images": 99})
    changed = bundle.manifest.model_copy(update={"onnx": {**bundle.manifest.onnx, key: other}})
    assert "holds another calibration" in why_no_layers(Bundle(bundle.path, changed), engine)

    files = {name: record for name, record in bundle.manifest.files.items() if name != "calibration.json"}
    without = bundle.manifest.model_copy(update={"files": files})
    assert "build it again with --calibration" in why_no_layers(Bundle(bundle.path, without), engine)


def test_a_fixed_batch_is_filled_up(typed: Typed, tmp_path: Path) -> None:
    from segdino_deploy import export_model
    from segdino_deploy.export.options import ExportOptions
    from segdino_deploy.manifest import BatchRange

    golden = read_golden("v1_convt")
    one = compare_layers(*typed("v1_convt", "tensorrt", "fp16"), golden.image)
    options = ExportOptions(input_size=golden.input_hw, batch=BatchRange(min=3, opt=3, max=3))
    bundle = export_model(golden.checkpoint, tmp_path / "three.segdino", options)

    three = compare_layers(bundle, add_typed_engine(bundle, "onnxruntime", "fp16"), golden.image)

    assert [layer.name for layer in one.layers] == [layer.name for layer in three.layers]
    errors = np.array([[a.relative_error, b.relative_error] for a, b in zip(one.layers, three.layers, strict=True)])
    np.testing.assert_allclose(errors[:, 1], errors[:, 0], rtol=0.05)
