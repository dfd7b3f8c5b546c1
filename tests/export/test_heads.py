"""Several heads in one graph: each computes what it computes alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper
from PIL import Image

from segdino_deploy import Bundle, build_engine, export_heads, export_model, open_engine
from segdino_deploy.canary import Canary
from segdino_deploy.engines.build import BuildOptions
from segdino_deploy.errors import InputError
from segdino_deploy.export.heads import HeadSource, parse_classes, parse_heads
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.manifest import BatchRange
from tests.conftest import read_golden

Shared = Callable[[str], Path]
SIZE = (64, 96)
DEPTH = 12
FILES = {"polyp": "v1_convt", "tissue": "v2_3class_sat"}  # of the fixture `joint`
OPTIONS = ExportOptions(input_size=SIZE, outputs=("mask", "logits"))


@pytest.fixture(scope="module")
def alone(shared_backbone: Shared, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each head of `joint` exported by itself."""
    directory = tmp_path_factory.mktemp("alone")
    for head, name in FILES.items():
        export_model(shared_backbone(name), directory / f"{head}.segdino", OPTIONS)
    return {head: directory / f"{head}.segdino" for head in FILES}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """uint8 `[3, 64, 96, 3]`: upstream's two and noise."""
    noise = np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3), dtype=np.uint8)
    return np.concatenate([read_golden("v1_convt").image, noise])


def run_onnx(path: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, {"image": images}), strict=True))


def weight_bytes(path: Path) -> int:
    return sum(numpy_helper.to_array(tensor).nbytes for tensor in onnx.load(path).graph.initializer)


def test_each_head_gives_what_it_gives_alone(joint: Path, alone: dict[str, Path], images: np.ndarray) -> None:
    for image in images:
        together = run_onnx(joint / "model.onnx", image[None])
        assert list(together) == ["polyp.mask", "polyp.logits", "tissue.mask", "tissue.logits"]
        for head, path in alone.items():
            expected = run_onnx(path / "model.onnx", image[None])
            np.testing.assert_allclose(together[f"{head}.logits"], expected["logits"], atol=1e-5)
            assert np.mean(together[f"{head}.mask"] == expected["mask"]) > 0.999


def test_a_head_gives_upstreams_logits(joint: Path) -> None:
    golden = read_golden("v1_convt")

    logits = run_onnx(joint / "model.onnx", golden.image[:1])["polyp.logits"]

    assert np.abs(logits - golden.logits[:1]).max() < 1e-4


def test_the_graph_has_one_backbone(joint: Path, alone: dict[str, Path]) -> None:
    operators = [node.op_type for node in onnx.load(joint / "model.onnx").graph.node]
    backbone = 32 * 32 * 12 * DEPTH * 4  # q, k, v, projection and the two of the MLP: 12 D^2 floats per block

    assert operators.count("Softmax") == DEPTH
    norms = [node.op_type for node in onnx.load(alone["polyp"] / "model.onnx").graph.node].count("LayerNormalization")
    assert operators.count("LayerNormalization") == norms  # taps that both heads read are normalised once
    apart = sum(weight_bytes(path / "model.onnx") for path in alone.values())
    assert weight_bytes(joint / "model.onnx") <= apart - backbone


def test_taps_may_differ_and_the_batch_be_dynamic(shared_backbone: Shared, tmp_path: Path, images: np.ndarray) -> None:
    taps = {"a": (0, 2, 3, 5), "b": (2, 4, 5, 7)}
    files = {"a": shared_backbone("fine_grained"), "b": shared_backbone("v2")}
    options = ExportOptions(input_size=SIZE, batch=BatchRange(min=1, opt=2, max=3), outputs=("logits",))
    sources = {head: HeadSource(files[head], taps=taps[head]) for head in files}
    bundle = export_heads(sources, tmp_path / "joint.segdino", options)

    together = run_onnx(bundle.path / "model.onnx", images)

    operators = [node.op_type for node in onnx.load(bundle.path / "model.onnx").graph.node]
    assert operators.count("Softmax") == 8  # to the largest tap
    assert {head.name: head.taps for head in bundle.manifest.model.heads} == taps
    for head in files:
        single = export_model(files[head], tmp_path / f"{head}.segdino", options, taps=taps[head])
        for index, image in enumerate(images):
            expected = run_onnx(single.path / "model.onnx", image[None])["logits"]
            np.testing.assert_allclose(together[f"{head}.logits"][index], expected[0], atol=1e-5)


@pytest.mark.parametrize(
    ("backend", "precision"), [("openvino", "fp32"), ("onnxruntime", "fp16"), ("onnxruntime", "int8")]
)
def test_engines_of_several_heads_give_what_engines_of_one_give(
    backend: str, precision: str, joint_copy: Bundle, alone: dict[str, Path], images: np.ndarray, tmp_path: Path
) -> None:
    calibration = tmp_path / "calibration"
    calibration.mkdir()
    for index, image in enumerate(images):  # at the model's size: the two filters of the two families see the same
        Image.fromarray(image).save(calibration / f"{index}.png")
    options = BuildOptions(precision, backend, calibration, ("none",))  # type: ignore[arg-type]

    canary = build_engine(joint_copy, options).canary

    assert canary is not None
    assert [record.head for record in canary.heads] == ["polyp", "tissue"]
    assert canary.mask_agreement == min(record.mask_agreement for record in canary.heads)
    with open_engine(joint_copy.path) as runner:
        together = runner.run({"image": images[:1]})
    for head, path in alone.items():
        shutil.copytree(path, tmp_path / head)
        build_engine(tmp_path / head, options)
        with open_engine(tmp_path / head) as runner:
            expected = runner.run({"image": images[:1]})
        scale = max(1, np.abs(expected["logits"]).max())
        assert np.abs(together[f"{head}.logits"] - expected["logits"]).max() < 1e-4 * scale
        assert np.mean(together[f"{head}.mask"] == expected["mask"]) > 0.999


def test_backends_keep_the_names_and_the_decision_of_every_head(joint_copy: Bundle, calibration_images: Path) -> None:
    for precision in ("fp16", "int8"):
        engine = build_engine(joint_copy, BuildOptions(precision, "openvino", calibration_images))  # type: ignore[arg-type]
        assert engine.canary is not None
        assert engine.canary.passed
        with open_engine(joint_copy.path / engine.file) as runner:
            outputs = runner.run({"image": np.zeros((1, *SIZE, 3), np.uint8)})
        assert list(outputs) == ["polyp.mask", "polyp.logits", "tissue.mask", "tissue.logits"]
    built = build_engine(joint_copy, BuildOptions("fp16", "tensorrt-rtx"))
    assert built.receipt["network_layers"] > 0
    int8 = onnx.load(joint_copy.file("model.int8-openvino.onnx")).graph
    weights = {node.name: node.input[1] for node in int8.node if node.op_type == "Conv"}
    float_weights = {tensor.name for tensor in int8.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    for last in ("head_polyp.finer.conv", "head_polyp.same_grid.conv"):  # both are added up to polyp's logits
        assert weights[f"{last}/Conv"] in float_weights
    for last in ("head_tissue.inter.0.of_input", "head_tissue.inter.0.of_residual"):
        assert weights[f"{last}/Conv"] in float_weights


def test_the_card_says_what_belongs_to_whom(joint: Path) -> None:
    bundle = Bundle.open(joint)
    card = bundle.manifest.model
    polyp, tissue = card.heads

    assert (polyp.class_names, tissue.class_names) == (["polyp"], ["tissue_0", "tissue_1", "tissue_2"])
    assert (polyp.family, tissue.family) == ("v1_convt", "v2")
    assert (card.resize_filter, polyp.resize_filter, tissue.resize_filter) == ("bicubic", "bicubic", "bilinear")
    assert {(p.head, p.images) for p in bundle.manifest.onnx["fp32"].parity} == {
        (head, images) for head in FILES for images in ("canary", "random")
    }
    with np.load(joint / "canary.npz") as arrays:
        assert set(arrays.files) == {"image", "polyp.logits", "polyp.mask", "tissue.logits", "tissue.mask"}
    assert set(Canary.read(joint / "canary.npz").logits) == set(FILES)


def test_one_named_head_has_named_outputs_and_an_unnamed_one_has_not(
    shared_backbone: Shared, exported: Callable[[str], Path], tmp_path: Path
) -> None:
    named = export_heads({"polyp": shared_backbone("v1_convt")}, tmp_path / "b.segdino", ExportOptions((32, 32)))

    assert named.manifest.model.output_names == ["polyp.mask"]
    unnamed = exported("v1_convt")
    assert Bundle.open(unnamed).manifest.model.output_names == ["mask", "logits"]
    with np.load(unnamed / "canary.npz") as arrays:
        assert set(arrays.files) == {"image", "logits", "mask"}


def test_class_names_that_clash_are_refused_and_nothing_is_written(shared_backbone: Shared, tmp_path: Path) -> None:
    path = tmp_path / "b.segdino"
    one, other = shared_backbone("v1_convt"), shared_backbone("v2")

    with pytest.raises(InputError, match=r"'x' is a class of a and of b; rename it in one of them"):
        export_heads({"a": HeadSource(one, ("x",)), "b": HeadSource(other, ("x",))}, path)
    three = shared_backbone("v2_3class_sat")
    with pytest.raises(InputError, match=r"'t_0' is a class of t and of t_0"):  # default names may clash too
        export_heads({"t": three, "t_0": one}, path)
    with pytest.raises(InputError, match=r"2 names given, .*v1_convt\.pth has 1 classes"):
        export_heads({"a": HeadSource(one, ("x", "y"))}, path)
    with pytest.raises(InputError, match="a and b are the same checkpoint"):
        export_heads({"a": one, "b": one}, path)
    with pytest.raises(InputError, match="class names belong to a head"):
        export_heads({"a": one}, path, ExportOptions(class_names=("x",)))
    assert not path.exists()


def test_heads_and_classes_are_read_from_the_line() -> None:
    assert parse_heads(["polyp=a=b.pth", "Lesion-2 = b.pth"]) == {"polyp": Path("a=b.pth"), "Lesion-2": Path("b.pth")}
    assert parse_classes(["a, b"], ()) == {"": ("a", "b")}
    assert parse_classes(["y=c", "x=a,b"], ("x", "y")) == {"y": ("c",), "x": ("a", "b")}
