"""Which engine that is there is the one that a line would build."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from segdino_deploy import Bundle, build_engine
from segdino_deploy.engines.build import BACKENDS, BuildOptions, find_built
from segdino_deploy.manifest import Asked, Engine, Manifest

Copy = Callable[..., Bundle]


def changed(bundle: Bundle, name: str, **values: object) -> None:
    """The engine's record with other values."""

    def change(manifest: Manifest) -> Manifest:
        engine = manifest.engines[name].model_copy(update=values)
        return manifest.model_copy(update={"engines": {**manifest.engines, name: engine}})

    bundle.update({}, change)


def asked(engine: Engine) -> Asked:
    assert engine.asked is not None
    return engine.asked


def test_calibration_images_leave_what_they_would_make_again(
    bundle_copy: Copy, calibration_images: Path, tmp_path: Path
) -> None:
    bundle = bundle_copy()
    moved = shutil.copytree(calibration_images, tmp_path / "moved")
    fewer = shutil.copytree(calibration_images, tmp_path / "fewer")
    sorted(fewer.iterdir())[0].unlink()
    for precision in ("fp32", "fp16", "int8"):
        wanted = BuildOptions(precision, "onnxruntime", calibration_images)  # type: ignore[arg-type]
        engine = build_engine(bundle, wanted)

        assert find_built(bundle, wanted) == engine
        assert find_built(bundle, replace(wanted, calibration=None)) == engine
        assert find_built(bundle, replace(wanted, calibration=moved)) == engine  # the same images
        others = (
            replace(wanted, calibration=fewer),
            replace(wanted, calibration_images=2),
            replace(wanted, calibration=None, calibration_images=2),
            replace(wanted, calibration=tmp_path / "gone"),
        )
        for other in others:
            expected = engine if precision == "fp32" else None  # which no image changes
            assert find_built(bundle, other) == expected


def test_int8_is_left_only_with_the_same_method_groups_and_strengths(
    bundle_copy: Copy, calibration_images: Path
) -> None:
    bundle = bundle_copy()
    wanted = BuildOptions("int8", "onnxruntime", calibration_images, calibration_method="mse")
    engine = build_engine(bundle, wanted)
    record = bundle.manifest.onnx["int8-onnxruntime"].int8
    assert record is not None

    assert find_built(bundle, wanted) == engine
    assert find_built(bundle, replace(wanted, calibration=None, calibration_method=None)) == engine
    assert find_built(bundle, replace(wanted, fp32_groups=())) == engine  # here nothing needs a search
    assert find_built(bundle, replace(wanted, fp32_groups=("blocks.0.qkv",))) is None
    assert find_built(bundle, replace(wanted, calibration_method="entropy")) is None
    # searched strengths, even where those that are given are the same numbers
    assert find_built(bundle, replace(wanted, smoothing={})) is None

    build_engine(bundle, replace(wanted, fp32_groups=("blocks.0.qkv",)))
    assert find_built(bundle, wanted) is None


def test_a_calibration_that_made_no_model_yet_is_not_taken_for_the_engines(
    bundle_copy: Copy, calibration_images: Path
) -> None:
    from segdino_deploy.engines.calibration.calibrate import CalibrationOptions
    from segdino_deploy.engines.precision.typed import make_int8_source

    bundle = bundle_copy()
    build_engine(bundle, BuildOptions("int8", "onnxruntime", calibration_images, calibration_images=1))
    newer = make_int8_source(bundle, "onnxruntime", CalibrationOptions(calibration_images))
    bundle.update(newer.files, lambda manifest: manifest)  # as a search that misses its budget leaves it

    assert find_built(bundle, BuildOptions("int8", "onnxruntime", calibration_images)) is None
    assert find_built(bundle, BuildOptions("int8", "onnxruntime")) is None


def test_spellings_by_name_are_not_what_auto_would_measure(bundle_copy: Copy) -> None:
    bundle = bundle_copy()
    for lowering in (("none",), ("gelu-erf",)):
        named = BuildOptions("fp32", "onnxruntime", lowering=lowering)
        engine = build_engine(bundle, named)

        assert find_built(bundle, named) == engine
        assert find_built(bundle, BuildOptions("fp32", "onnxruntime")) is None
        other = ("split-qkv",) if lowering == ("none",) else ("none",)
        assert find_built(bundle, replace(named, lowering=other)) is None


def test_another_library_tool_or_inference_precision_is_built_again(bundle_copy: Copy) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    bundle = bundle_copy()
    wanted = BuildOptions("fp32", "openvino", lowering=("none",), inference_precision="f32")
    engine = build_engine(bundle, wanted)
    name = "openvino-fp32"

    assert engine.built_with == BACKENDS["openvino"].identify()
    assert find_built(bundle, wanted) == engine
    assert find_built(bundle, replace(wanted, inference_precision=None)) is None  # measured anew
    assert find_built(bundle, replace(wanted, inference_precision="bf16")) is None

    for other in (
        {"built_with": {**engine.built_with, "openvino": "2020.1"}},
        {"asked": asked(engine).model_copy(update={"tool_version": "0.0.1"})},
        {"asked": None},  # of a version that did not say
    ):
        changed(bundle, name, **other)
        assert find_built(bundle, wanted) is None
        changed(bundle, name, **{key: getattr(engine, key) for key in other})
    assert find_built(bundle, wanted) == engine
