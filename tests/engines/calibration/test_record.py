"""`calibration.json`: what is written is what is read, and nothing of another model is taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segdino_deploy.engines.calibration.coverage import Coverage
from segdino_deploy.engines.calibration.record import (
    Calibration,
    CalibrationFile,
    CalibrationKey,
    ChannelRecord,
    read_calibrations,
)
from segdino_deploy.engines.calibration.statistics import ChannelStatistics
from segdino_deploy.errors import InputError


def calibration(model: str = "m", images: str = "i", method: str = "minmax", target: str = "int8") -> Calibration:
    return Calibration(
        key=CalibrationKey(model_sha256=model, images_sha256=images, method=method, target=target),
        image_sha256=["one", "two"],
        coverage=Coverage(images=2, unreadable=0, sizes={"8x8": 2}, intensity_range=(0, 255), classes={"a": 1.0}),
        channels={"x": ChannelRecord(low=[-1.0], high=[2.0], mean=[0.1], energy=[0.5])},
        strengths={"backbone.blocks.0.attn.qkv": 0.65},
        ranges={"x": (-0.1, 0.7)},
    )


def test_float32_statistics_survive_the_file_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    values = [(rng.normal(size=300) * 10.0 ** rng.integers(-30, 30, 300)).astype(np.float32) for _ in range(4)]
    seen = ChannelStatistics(*(v.astype(np.float64) for v in values), np.ones((2, 300), np.float32))
    entry = calibration().model_copy(update={"channels": {"x": ChannelRecord.of(seen)}})

    read = CalibrationFile.model_validate_json(CalibrationFile().with_(entry).to_bytes())

    again = read.calibrations[0].channels["x"].statistics()
    for part, expected in zip(("low", "high", "mean", "energy"), values, strict=True):
        np.testing.assert_array_equal(getattr(again, part).astype(np.float32), expected)
    assert again.rows.size == 0  # samples of the images are not written


def test_ranges_survive_the_file_exactly(tmp_path: Path) -> None:
    entry = calibration().model_copy(update={"ranges": {"x": (-1 / 3, 2 / 7)}})
    (tmp_path / "calibration.json").write_bytes(CalibrationFile().with_(entry).to_bytes())

    assert read_calibrations(tmp_path / "calibration.json", "m").calibrations == [entry]


def test_a_calibration_is_found_by_model_images_method_and_target() -> None:
    file = CalibrationFile().with_(calibration())

    assert file.find(calibration().key) == calibration()
    for other in ({"model": "x"}, {"images": "x"}, {"method": "mse"}, {"target": "int8-openvino"}):
        assert file.find(calibration(**other).key) is None


def test_each_target_keeps_its_newest_calibration() -> None:
    file = CalibrationFile().with_(calibration()).with_(calibration(target="int8-openvino"))
    file = file.with_(calibration(images="others"))

    assert [entry.key.target for entry in file.calibrations] == ["int8-openvino", "int8"]
    newest = file.newest("m", "int8")
    assert newest is not None and newest.key.images_sha256 == "others"
    assert file.newest("m", "int8-onnxruntime") is None
    assert file.newest("another", "int8") is None


def test_another_models_calibration_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_bytes(CalibrationFile().with_(calibration(model="aaaabbbbccccdddd")).to_bytes())

    with pytest.raises(InputError) as caught:
        read_calibrations(path, "0123456789abcdef")
    assert str(caught.value) == (
        f"{path}: was made of another model (sha256 aaaabbbbcccc, this one has 0123456789ab); "
        "calibrate again with a folder of images"
    )


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b'{"calibrations": [{}]}', b'{"ranges": {"x": [0, 1]}}', b"[]"]
)
def test_what_is_no_calibration_of_this_version_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_bytes(content)

    with pytest.raises(InputError, match=r"calibration\.json: not a calibration of this version; calibrate again"):
        read_calibrations(path, "m")


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"calibration\.json: no such file"):
        read_calibrations(tmp_path / "calibration.json", "m")
