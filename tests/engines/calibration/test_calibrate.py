"""Calibrating a bundle: once per model, images and method, and never on another model's numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from segdino_deploy.bundle import Bundle
from segdino_deploy.engines.calibration import calibrate as module
from segdino_deploy.engines.calibration.calibrate import Calibrated, CalibrationOptions, calibrate_bundle
from segdino_deploy.engines.calibration.record import CALIBRATION_FILE
from segdino_deploy.engines.precision.int8.targets import TARGETS
from segdino_deploy.engines.precision.typed import make_typed_model
from segdino_deploy.errors import InputError
from segdino_deploy.export.graph import load_onnx

Copy = Callable[[str], Bundle]


def calibrated(bundle: Bundle, options: CalibrationOptions, backend: str = "onnxruntime") -> Calibrated:
    return calibrate_bundle(bundle, load_onnx(bundle.file("model.onnx")), TARGETS[backend], options)


def no_image_may_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("an image was read")

    for name in ("survey", "stream_batches"):
        monkeypatch.setattr(module, name, refuse)


def test_the_same_model_images_and_method_are_calibrated_once(
    bundle_copy: Copy, calibration_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundle_copy("v1_convt")
    options = CalibrationOptions(calibration_images)
    first = calibrated(bundle, options)
    bundle.file(CALIBRATION_FILE).write_bytes(first.file.to_bytes())
    no_image_may_be_read(monkeypatch)

    again = calibrated(bundle, options)

    assert again.calibration == first.calibration
    assert len(again.images) == 4
    assert again.notes == ["calibration found in calibration.json: same model, images and method"]
    # without --calibration, the bundle's own is taken
    assert calibrated(bundle, CalibrationOptions()).calibration == first.calibration
    for other in (
        CalibrationOptions(calibration_images, method="mse"),
        CalibrationOptions(calibration_images, limit=3),
        CalibrationOptions(calibration_images, strengths={"backbone.blocks.0.attn.qkv": 0.5}),
    ):
        with pytest.raises(AssertionError, match="an image was read"):
            calibrated(bundle, other)
    with pytest.raises(AssertionError, match="an image was read"):
        calibrated(bundle, options, "openvino")


def test_a_first_calibration_says_what_it_saw(bundle_copy: Copy, calibration_images: Path) -> None:
    found = calibrated(bundle_copy("v1_convt"), CalibrationOptions(calibration_images))

    assert found.notes[0].startswith("calibrated on 4 images (256x256: 4), intensities ")
    assert found.calibration.images == len(found.images) == 4
    assert found.calibration.coverage.sizes == {"256x256": 4}


def test_another_models_calibration_is_refused_by_name(bundle_copy: Copy, calibration_images: Path) -> None:
    other = bundle_copy("v1_paper")
    found = calibrated(other, CalibrationOptions(calibration_images))
    other.file(CALIBRATION_FILE).write_bytes(found.file.to_bytes())

    with pytest.raises(InputError, match=r"v1_paper.*calibration\.json: was made of another model"):
        calibrated(bundle_copy("v1_convt"), CalibrationOptions(other.file(CALIBRATION_FILE)))


def test_a_calibration_file_makes_the_same_int8_model_without_images(
    bundle_copy: Copy, calibration_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundle_copy("v1_convt")
    first = make_typed_model(bundle, "int8", "onnxruntime", CalibrationOptions(calibration_images))
    given = tmp_path / "elsewhere.json"
    given.write_bytes(first.files[CALIBRATION_FILE])
    no_image_may_be_read(monkeypatch)

    again = make_typed_model(bundle, "int8", "onnxruntime", CalibrationOptions(given))

    assert again.model.SerializeToString(deterministic=True) == first.model.SerializeToString(deterministic=True)
    assert again.files[CALIBRATION_FILE] == first.files[CALIBRATION_FILE]
    assert again.record.calibration_images == 4
    with pytest.raises(InputError, match=r"elsewhere\.json: holds no calibration for int8-openvino; calibrate with"):
        make_typed_model(bundle, "int8", "openvino", CalibrationOptions(given))


def test_too_few_images_for_a_method_are_refused_with_the_cure(bundle_copy: Copy, calibration_images: Path) -> None:
    with pytest.raises(InputError, match=r"percentile needs at least 8 images, 4 were given: add images, or use"):
        calibrated(bundle_copy("v1_convt"), CalibrationOptions(calibration_images, method="percentile"))


def test_without_images_the_cure_is_named(bundle_copy: Copy) -> None:
    with pytest.raises(InputError, match="name their folder with --calibration DIR"):
        calibrated(bundle_copy("v1_convt"), CalibrationOptions())


def test_given_strengths_are_recorded_instead_of_searched_ones(bundle_copy: Copy, calibration_images: Path) -> None:
    options = CalibrationOptions(calibration_images, strengths={"backbone.blocks.0.attn.qkv": 0.35})
    strengths = calibrated(bundle_copy("v1_convt"), options).calibration.strengths

    assert strengths["backbone.blocks.0.attn.qkv"] == 0.35
    assert {value for name, value in strengths.items() if name != "backbone.blocks.0.attn.qkv"} == {0.0}


def test_given_strengths_are_not_taken_for_searched_ones_later(
    bundle_copy: Copy, calibration_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundle_copy("v1_convt")
    given = CalibrationOptions(calibration_images, strengths={"backbone.blocks.0.attn.qkv": 0.35})
    bundle.file(CALIBRATION_FILE).write_bytes(calibrated(bundle, given).file.to_bytes())
    no_image_may_be_read(monkeypatch)

    with pytest.raises(AssertionError, match="an image was read"):
        calibrated(bundle, CalibrationOptions(calibration_images))


@pytest.mark.parametrize("content", [b'{"schema_version": 1, "calibrations": []}', b"not json", b'{"ranges": {}}'])
def test_a_calibration_of_an_earlier_version_is_made_anew_or_refused_with_the_cure(
    content: bytes, bundle_copy: Copy, calibration_images: Path
) -> None:
    bundle = bundle_copy("v1_convt")
    bundle.file(CALIBRATION_FILE).write_bytes(content)

    assert calibrated(bundle, CalibrationOptions(calibration_images)).calibration.images == 4
    with pytest.raises(InputError, match="not a calibration of this version; calibrate again with a folder of images"):
        calibrated(bundle, CalibrationOptions())


def test_a_strength_of_an_unknown_layer_or_out_of_range_is_refused(bundle_copy: Copy, calibration_images: Path) -> None:
    bundle = bundle_copy("v1_convt")
    for strengths, said in (
        ({"backbone.blocks.0.attn.qvk": 0.5}, r"'backbone\.blocks\.0\.attn\.qvk' is no layer that can be smoothed"),
        ({"backbone.blocks.0.attn.qkv": 1.5}, r"= 1\.5 is not from 0 to 1"),
    ):
        with pytest.raises(InputError, match=said):
            calibrated(bundle, CalibrationOptions(calibration_images, strengths=strengths))
