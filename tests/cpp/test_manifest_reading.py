"""manifest.json in C++: what Python wrote is read as Python reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from segdino_deploy import Bundle, build_engine, export_model
from segdino_deploy.engines.build import BuildOptions
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.manifest import BatchRange, Engine, Manifest
from tests.conftest import GOLDEN
from tests.cpp.bundle_probes import BundleProbes
from tests.cpp.manifest_cases import Content, changed


@pytest.fixture(scope="module")
def logits_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """v2 with three classes, batch 2 to 3, without a mask, with an engine."""
    path = tmp_path_factory.mktemp("logits") / "logits.segdino"
    options = ExportOptions(input_size=(32, 48), batch=BatchRange(min=2, opt=2, max=3), outputs=("logits",))
    bundle = export_model(GOLDEN / "v2_3class_sat.pth", path, options)
    build_engine(bundle, BuildOptions("fp32", "onnxruntime"))
    return path


def as_python_reads(manifest: Manifest) -> Content:
    """The parts that the C++ library keeps."""
    card = manifest.model
    heads = [
        {key: getattr(head, key) for key in ("name", "family", "num_classes", "class_names", "outputs", "threshold")}
        for head in card.heads
    ]
    return {
        "tool_version": manifest.tool_version,
        "input_size": list(card.input_size),
        "batch": [card.batch.min, card.batch.max],
        "resize_filter": card.resize_filter,
        "heads": heads,
        "tensors": card.output_names,
        "canaries": {model.file: model.canary for model in manifest.onnx.values()},
        "engines": [_engine(name, engine) for name, engine in manifest.engines.items()],
        "files": [[name, file.sha256, file.size_bytes] for name, file in manifest.files.items()],
    }


def _engine(name: str, engine: Engine) -> Content:
    keys = ("file", "companions", "backend", "precision", "source", "built_with")
    chosen = [record.chosen for record in engine.lowering if record.chosen != "as exported"]
    return {
        "name": name,
        **{key: getattr(engine, key) for key in keys},
        "inference_precision": engine.inference_precision or "",
        "lowerings": chosen,
    }


def as_cpp_reads(found: Content) -> Content:
    model = found["model"]
    kept = ("name", "file", "companions", "backend", "precision", "source", "built_with")
    return {
        "tool_version": found["tool_version"],
        **{key: model[key] for key in ("input_size", "batch", "resize_filter", "heads")},
        "tensors": [tensor["name"] for tensor in model["tensors"]],
        "canaries": found["canaries"],
        "engines": [
            {key: engine[key] for key in (*kept, "inference_precision", "lowerings")} for engine in found["engines"]
        ],
        "files": found["files"],
    }


def test_what_python_wrote_is_read_as_python_reads_it(
    exported: Callable[[str], Path], joint: Path, logits_only: Path, probes: BundleProbes
) -> None:
    for path in (exported("v1_convt"), joint, logits_only):
        found = probes.read_bundle(path)

        assert as_cpp_reads(found) == as_python_reads(Bundle.open(path).manifest)


def test_tensors_have_the_models_shapes_in_its_order(joint: Path, logits_only: Path, probes: BundleProbes) -> None:
    tensors = probes.read_bundle(joint)["model"]["tensors"]

    assert [tuple(tensor.values()) for tensor in tensors] == [
        ("polyp.mask", 0, False, 1, 64 * 96),
        ("polyp.logits", 0, True, 1, 64 * 96 * 4),
        ("tissue.mask", 1, False, 1, 64 * 96),
        ("tissue.logits", 1, True, 3, 64 * 96 * 3 * 4),
    ]
    (logits,) = probes.read_bundle(logits_only)["model"]["tensors"]
    assert tuple(logits.values()) == ("logits", 0, True, 3, 32 * 48 * 3 * 4)


def test_engines_and_files_keep_the_manifests_order(content: Content, probes: BundleProbes) -> None:
    found = probes.parse_manifest(json.dumps(content).encode())

    assert [engine["name"] for engine in found["engines"]] == ["tensorrt", "openvino", "onnxruntime"]
    assert [name for name, *_ in found["files"]] == list(content["files"])


def test_unknown_keys_are_for_later_versions(content: Content, probes: BundleProbes) -> None:
    before = probes.parse_manifest(json.dumps(content).encode())
    for place in (
        "",
        "model/",
        "model/batch/",
        "model/heads/0/",
        "onnx/fp32/",
        "engines/openvino/",
        "files/model.onnx/",
    ):
        content = changed(content, f"{place}of_a_later_version", {"deep": [1, None]})

    assert probes.parse_manifest(json.dumps(content).encode()) == before


@pytest.mark.parametrize(
    "place",
    ["schema_version", "onnx", "engines", "model/batch/min", "model/batch/max"],
)
def test_what_python_leaves_out_has_its_default(place: str, content: Content, probes: BundleProbes) -> None:
    without = changed(content, place, ...)

    assert as_cpp_reads(probes.parse_manifest(json.dumps(without).encode())) == as_python_reads(
        Manifest.model_validate(without)
    )


def test_options_of_a_receipt_are_words_of_the_command_line(content: Content, probes: BundleProbes) -> None:
    options = {
        "workspace_mib": 512,
        "version_compatible": True,
        "strip_weights": True,
        "hardware_compatible": "ampere-plus",
        "compute_capabilities": ["8.6", "8.9"],
        "refittable": False,
        "dla_core": None,
    }
    receipt = {"layers": {"any": ["thing"]}, "options": options}

    found = probes.parse_manifest(json.dumps(changed(content, "engines/tensorrt/receipt", receipt)).encode())

    engine = found["engines"][0]
    assert engine["options"] == [
        ["--workspace", "512"],
        ["--version-compatible", ""],
        ["--strip-weights", ""],
        ["--hardware-compatible", "ampere-plus"],
        ["--compute-capabilities", "8.6,8.9"],
    ]
    assert engine["version_compatible"] is True
    assert engine["strip_weights"] is True
    assert engine["hardware_compatible"] == "ampere-plus"
    assert engine["compute_capabilities"] == ["8.6", "8.9"]


@pytest.mark.parametrize("name", ["a..b", "...", "a/.hidden", "größe.png", "a b", "x/y/z.toml"])
def test_unusual_names_are_still_names(name: str, content: Content, probes: BundleProbes) -> None:
    content["files"][name] = content["files"]["model.onnx"]

    assert name in [file for file, *_ in probes.parse_manifest(json.dumps(content).encode())["files"]]


def test_keys_that_come_twice_count_once_as_in_python(content: Content, probes: BundleProbes) -> None:
    text = json.dumps(content).encode()
    twice = text.replace(b'"tool_version": "0.1.0"', b'"tool_version": 1, "tool_version": "0.1.0"')

    assert twice != text
    assert probes.parse_manifest(twice) == probes.parse_manifest(text)
