"""The exported graph: its contract, and what it computes, for every golden checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from segdino_deploy import Bundle, build_engine, export_model, open_engine
from segdino_deploy.engines.build import BuildOptions
from segdino_deploy.errors import CheckFailed, InputError
from segdino_deploy.export.graph import value_types
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.manifest import BatchRange
from tests.conftest import GOLDEN, Golden

Exported = Callable[[str], Path]


def run_onnx(path: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, {"image": images}), strict=True))


def test_onnx_runtime_gives_upstreams_logits(golden: Golden, exported: Exported) -> None:
    outputs = run_onnx(exported(golden.name) / "model.onnx", golden.image[:1])

    assert np.abs(outputs["logits"] - golden.logits[:1]).max() < 1e-4
    assert outputs["mask"].dtype == np.uint8
    assert outputs["mask"].shape == (1, *golden.input_hw)


def test_openvino_f32_gives_upstreams_logits(golden: Golden, bundle_copy: Callable[[str], Bundle]) -> None:
    bundle = bundle_copy(golden.name)
    build_engine(bundle, BuildOptions("fp32", "openvino"))

    with open_engine(bundle.path, backend="openvino") as runner:
        outputs = runner.run({"image": golden.image[:1]})

    assert np.abs(outputs["logits"] - golden.logits[:1]).max() < 1e-4


def test_graph_keeps_its_contract(golden: Golden, exported: Exported) -> None:
    model = onnx.load(exported(golden.name) / "model.onnx")
    operators = [node.op_type for node in model.graph.node]

    assert not {"If", "Loop", "Tile", "Shape", "Identity"} & set(operators)
    types = value_types(model)  # what is gathered is never a shape
    assert all(types[node.input[0]] == onnx.TensorProto.FLOAT for node in model.graph.node if node.op_type == "Gather")
    # two per block and one for each of the four taps; the last block's tap needs no block after it
    depth = golden.taps[-1] + 1
    assert operators.count("LayerNormalization") == 2 * depth + 4
    image = model.graph.input[0].type.tensor_type
    assert image.elem_type == onnx.TensorProto.UINT8
    assert [d.dim_value for d in image.shape.dim] == [1, *golden.input_hw, 3]
    assert operators[0] == "Cast"  # TensorRT takes uint8 at the network's edge only
    last = next(node for node in model.graph.node if "mask" in node.output)
    assert last.op_type == "Cast"


def test_no_path_of_the_exporting_machine_is_in_the_model(exported: Exported) -> None:
    content = (exported("v2") / "model.onnx").read_bytes()

    assert str(Path(__file__).parent.parent).encode() not in content
    assert b"site-packages" not in content


def test_manifest_holds_the_proof(golden: Golden, exported: Exported) -> None:
    record = Bundle.open(exported(golden.name)).manifest.onnx["fp32"]

    assert {p.images for p in record.parity} == {"canary", "random"}
    assert all(p.relative_error < 1e-4 for p in record.parity)
    assert set(record.weight_products) == {"fp32"}


@pytest.mark.parametrize("outputs", [("mask",), ("probability",), ("probability", "mask")])
def test_only_the_asked_outputs_are_exported(outputs: tuple[str, ...], tmp_path: Path) -> None:
    options = ExportOptions(input_size=(32, 48), outputs=outputs)  # type: ignore[arg-type]
    bundle = export_model(GOLDEN / "v1_convt_4class_large.pth", tmp_path / "b.segdino", options)

    image = np.random.default_rng(0).integers(0, 256, (1, 32, 48, 3), dtype=np.uint8)
    found = run_onnx(bundle.path / "model.onnx", image)

    assert tuple(found) == outputs
    if "probability" in found:
        np.testing.assert_allclose(found["probability"].sum(axis=1), 1, atol=1e-5)
        assert found["probability"].shape == (1, 4, 32, 48)
    if len(found) == 2:
        np.testing.assert_array_equal(found["mask"], found["probability"].argmax(axis=1))


@pytest.mark.parametrize("name", ["v1_convt", "fine_grained", "v2_initial", "v2"])
def test_dynamic_batch_gives_the_same_as_single_images(name: str, tmp_path: Path) -> None:
    options = ExportOptions(input_size=(64, 96), batch=BatchRange(min=1, opt=2, max=4), outputs=("logits",))
    bundle = export_model(GOLDEN / f"{name}.pth", tmp_path / "b.segdino", options)
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 96, 3), dtype=np.uint8)

    together = run_onnx(bundle.path / "model.onnx", images)["logits"]
    single = np.concatenate([run_onnx(bundle.path / "model.onnx", image[None])["logits"] for image in images])

    np.testing.assert_allclose(together, single, atol=1e-5)
    assert build_engine(bundle, BuildOptions("fp16", "tensorrt-rtx")).receipt["network_layers"] > 0


def test_threshold_is_a_probability(tmp_path: Path) -> None:
    golden = np.load(GOLDEN / "v1_convt.npz")
    probability = 1 / (1 + np.exp(-golden["logits"][:1, 0].astype(np.float64)))
    threshold = round(float(np.median(probability)), 3)
    options = ExportOptions(input_size=(64, 96), threshold=threshold)
    bundle = export_model(GOLDEN / "v1_convt.pth", tmp_path / "b.segdino", options)

    mask = run_onnx(bundle.path / "model.onnx", golden["image"][:1])["mask"]

    sure = np.abs(probability - threshold) > 1e-5
    assert 0.2 < mask.mean() < 0.8
    np.testing.assert_array_equal(mask[sure], (probability > threshold)[sure])


@pytest.mark.parametrize(("side", "near"), [(250, "240 or 256"), (5, "16"), (31, "16 or 32")])
def test_size_that_is_no_multiple_of_16_names_the_nearest(side: int, near: str) -> None:
    with pytest.raises(InputError, match=f"--size: {side} is no multiple of 16; the nearest are {near}"):
        ExportOptions(input_size=(64, side))


def test_a_wrong_graph_fails_its_parity_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from segdino_deploy.export.fold import backbone

    original = backbone.rope_tables

    def swapped(*arguments: object) -> object:
        sin, cos = original(*arguments)  # type: ignore[arg-type]
        return cos, sin

    monkeypatch.setattr(backbone, "rope_tables", swapped)

    with pytest.raises(CheckFailed, match="parity failed"):
        export_model(GOLDEN / "v1_convt.pth", tmp_path / "b.segdino", ExportOptions(input_size=(64, 96)))

    assert not (tmp_path / "b.segdino").exists()
