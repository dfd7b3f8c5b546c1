"""Building engines: real backends, receipts, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from segdino_deploy import Bundle, build_engine, export_model, open_engine
from segdino_deploy.engines.build import BACKENDS, BuildOptions, choose_backend
from segdino_deploy.engines.build.contract import BuildRequest, BuiltEngine
from segdino_deploy.errors import CheckFailed, InputError, MissingComponent
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.manifest import BatchRange
from segdino_deploy.recipes import BuildRecipe, read_recipe
from tests.conftest import GOLDEN

Copy = Callable[..., Bundle]


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8"])
def test_cpu_engines_pass_their_canary(
    backend: str, precision: str, bundle_copy: Copy, calibration_images: Path
) -> None:
    bundle = bundle_copy("v2_3class_sat")
    options = BuildOptions(precision, backend, calibration_images)  # type: ignore[arg-type]
    if (backend, precision) == ("onnxruntime", "bf16"):
        with pytest.raises(InputError, match="no bf16 kernels"):
            build_engine(bundle, options)
        return

    engine = build_engine(bundle, options)

    assert engine.canary is not None
    assert engine.canary.passed
    assert engine.canary.mask_agreement > 0.97
    reopened = Bundle.open(bundle.path)
    assert reopened.manifest.engines[f"{backend}-{precision}"] == engine
    assert all(name in reopened.manifest.files for name in (engine.file, *engine.companions))
    with open_engine(bundle.path / engine.file) as runner:
        assert (runner.backend, runner.precision) == (backend, precision)


def test_engine_files_are_what_the_backends_own_loaders_open(bundle_copy: Copy) -> None:
    import openvino

    bundle = bundle_copy()
    for backend in ("openvino", "onnxruntime"):
        build_engine(bundle, BuildOptions("fp32", backend))

    openvino.Core().read_model(bundle.file("engines/openvino-fp32.xml"))
    onnx.load(bundle.file("engines/onnxruntime-fp32.onnx"))


def test_a_missing_tensorrt_exits_with_its_install_line(bundle_copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segdino_deploy.requirements.has_module", lambda name: name != "tensorrt")

    with pytest.raises(MissingComponent, match=r"pip install 'segdino-deploy\[tensorrt\]'") as caught:
        build_engine(bundle_copy(), BuildOptions("fp16", "tensorrt"))
    assert caught.value.exit_code == 3


def test_default_backend_is_explained() -> None:
    name, reason = choose_backend()
    assert name in BACKENDS
    assert reason


def test_unknown_backend_names_the_known_ones(bundle_copy: Copy) -> None:
    with pytest.raises(InputError, match="openvino, onnxruntime, tensorrt-rtx, tensorrt"):
        build_engine(bundle_copy(), BuildOptions("fp16", "coreml"))


def test_int8_without_images_says_what_is_needed(bundle_copy: Copy) -> None:
    with pytest.raises(InputError, match="--calibration DIR"):
        build_engine(bundle_copy(), BuildOptions("int8", "openvino"))


def test_one_int8_file_serves_tensorrt_and_every_cpu_backend_has_its_own(
    bundle_copy: Copy, calibration_images: Path
) -> None:
    bundle = bundle_copy()
    for backend in ("openvino", "onnxruntime", "tensorrt-rtx"):
        build_engine(bundle, BuildOptions("int8", backend, calibration_images))

    sources = {name: engine.source for name, engine in bundle.manifest.engines.items()}
    assert sources == {
        "openvino-int8": "model.int8-openvino.onnx",
        "onnxruntime-int8": "model.int8-onnxruntime.onnx",
        "tensorrt-rtx-int8": "model.int8.onnx",
    }
    records = {name: bundle.manifest.onnx[name].int8 for name in ("int8", "int8-openvino")}
    assert [record.activations for record in records.values() if record] == ["int8", "uint8"]
    assert len(json.loads(bundle.file("calibration.json").read_text())["calibrations"]) == 3


def test_int8_is_made_anew_for_other_images_and_what_was_built_from_the_old_model_goes(
    bundle_copy: Copy, calibration_images: Path, tmp_path: Path
) -> None:
    bundle = bundle_copy()
    build_engine(bundle, BuildOptions("int8", "onnxruntime", calibration_images))
    build_engine(bundle, BuildOptions("int8", "tensorrt-rtx", calibration_images))
    model = bundle.file("model.int8-onnxruntime.onnx").read_bytes()
    build_engine(bundle, BuildOptions("int8", "onnxruntime"))
    assert bundle.file("model.int8-onnxruntime.onnx").read_bytes() == model  # from calibration.json alone

    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(sorted(calibration_images.iterdir())[0], other)
    build_engine(bundle, BuildOptions("int8", "onnxruntime", other))

    assert bundle.manifest.onnx["int8-onnxruntime"].calibration_images == 1
    assert bundle.file("model.int8-onnxruntime.onnx").read_bytes() != model
    assert "tensorrt-rtx-int8" in bundle.manifest.engines  # built from a file that is as it was
    Bundle.open(bundle.path)


def test_an_int8_recipe_builds_the_same_model_again(
    bundle_copy: Copy, calibration_images: Path, exported: Callable[[str], Path], tmp_path: Path
) -> None:
    bundle = bundle_copy()
    options = BuildOptions("int8", "onnxruntime", calibration_images, fp32_groups=("blocks.1.fc2",))
    build_engine(bundle, options)
    recipe = read_recipe(bundle.file("engines/onnxruntime-int8.toml"), BuildRecipe)
    again = tmp_path / "again.segdino"
    shutil.copytree(exported("v1_convt"), again)

    build_engine(again, recipe.options("int8", "onnxruntime", calibration_images))

    name = "model.int8-onnxruntime.onnx"
    assert (again / name).read_bytes() == bundle.file(name).read_bytes()
    assert recipe.fp32_groups == ["blocks.1.fc2"]
    assert recipe.lowering != "auto"


def test_an_engine_that_fails_its_canary_replaces_nothing(bundle_copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = bundle_copy()
    build_engine(bundle, BuildOptions("fp32", "onnxruntime"))
    before = bundle.file("engines/onnxruntime-fp32.onnx").read_bytes()
    honest = BACKENDS["onnxruntime"]

    def build_wrong_weights(request: BuildRequest) -> BuiltEngine:
        for tensor in request.model.graph.initializer:
            if tensor.dims and tensor.raw_data:
                tensor.raw_data = tensor.raw_data[::-1]
                break
        return honest.build(request)

    broken = replace(honest, build=build_wrong_weights)
    monkeypatch.setitem(BACKENDS, "onnxruntime", broken)

    with pytest.raises(CheckFailed, match="fails its canary"):
        build_engine(bundle, BuildOptions("fp32", "onnxruntime"))

    assert bundle.file("engines/onnxruntime-fp32.onnx").read_bytes() == before
    assert sorted(entry.name for entry in bundle.path.iterdir() if entry.name.startswith(".")) == [".lock"]
    Bundle.open(bundle.path)


def test_a_builders_warnings_are_told_once_and_kept_in_the_manifest(
    bundle_copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundle_copy()
    honest = BACKENDS["onnxruntime"]
    warnings = ["the first\nin two lines", "the second"]

    def build(request: BuildRequest) -> BuiltEngine:
        return replace(honest.build(request), receipt={"warnings": warnings})

    monkeypatch.setitem(BACKENDS, "onnxruntime", replace(honest, build=build))
    notes: list[str] = []
    build_engine(bundle, BuildOptions("fp32", "onnxruntime", lowering=("none",)), on_note=notes.append)

    said = "note: the builder of onnxruntime-fp32 gave 2 warnings, all of them in the manifest, such as the first"
    assert notes == [said]
    assert Bundle.open(bundle.path).manifest.engines["onnxruntime-fp32"].receipt["warnings"] == warnings


def test_what_a_killed_build_left_behind_is_removed_by_the_next(bundle_copy: Copy) -> None:
    bundle = bundle_copy()
    dead = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True).stdout.strip()
    (bundle.path / f".build-{dead}").mkdir()
    (bundle.path / f".build-{dead}" / "half.plan").write_bytes(b"half an engine")

    build_engine(bundle, BuildOptions("fp32", "onnxruntime"))

    assert not list(bundle.path.glob(".build-*"))


def test_int8_with_a_dynamic_batch_is_refused_where_openvino_is_wrong(tmp_path: Path, calibration_images: Path) -> None:
    options = ExportOptions(input_size=(32, 32), batch=BatchRange(min=1, opt=2, max=3))
    bundle = export_model(GOLDEN / "v2.pth", tmp_path / "b.segdino", options)

    with pytest.raises(InputError, match="fixed --batch"):
        build_engine(bundle, BuildOptions("int8", "openvino", calibration_images))
    assert build_engine(bundle, BuildOptions("int8", "onnxruntime", calibration_images)).canary is not None
