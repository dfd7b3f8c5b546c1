"""`calibration.json`: what calibration found, keyed by model, images and method, so that it is done once."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from segdino_deploy.engines.calibration.coverage import Coverage
from segdino_deploy.engines.calibration.statistics import NO_ROWS, ChannelStatistics
from segdino_deploy.errors import InputError

SCHEMA_VERSION: Literal[2] = 2  # 2: inputs of depthwise convolutions are watched, too
CALIBRATION_FILE = "calibration.json"


class ChannelRecord(BaseModel):
    """`ChannelStatistics` without the sample rows; float32 values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: list[float]
    high: list[float]
    mean: list[float]
    energy: list[float]

    @classmethod
    def of(cls, seen: ChannelStatistics) -> ChannelRecord:
        return cls(low=_short(seen.low), high=_short(seen.high), mean=_short(seen.mean), energy=_short(seen.energy))

    def statistics(self) -> ChannelStatistics:
        low, high, mean, energy = (np.array(v, np.float64) for v in (self.low, self.high, self.mean, self.energy))
        return ChannelStatistics(low, high, mean, energy, NO_ROWS)


class CalibrationKey(BaseModel):
    """What a calibration holds for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_sha256: str  # of model.onnx
    images_sha256: str
    method: str
    target: str  # key of the int8 target: its spelling of the graph and its activation type


class Calibration(BaseModel):
    """One calibration: enough to make the same int8 model again without the images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: CalibrationKey
    image_sha256: list[str]
    coverage: Coverage
    channels: dict[str, ChannelRecord]  # by tensor of the fp32 model, before anything is smoothed
    strengths: dict[str, float]  # of smoothing, by layer; 0: as it is
    searched: bool = True  # whether the strengths were searched; else they were given
    ranges: dict[str, tuple[float, float]]  # of the tensors that are quantized, after smoothing

    @property
    def images(self) -> int:
        return len(self.image_sha256)

    @property
    def sha256(self) -> str:
        """Of all of it: an int8 model names the calibration that it was made with."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class CalibrationFile(BaseModel):
    """All calibrations of one model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[2] = SCHEMA_VERSION
    calibrations: list[Calibration] = []

    def find(self, key: CalibrationKey) -> Calibration | None:
        return next((entry for entry in self.calibrations if entry.key == key), None)

    def newest(self, model_sha256: str, target: str) -> Calibration | None:
        """The last one made of this model for this target, whatever its images."""
        fitting = [e for e in self.calibrations if (e.key.model_sha256, e.key.target) == (model_sha256, target)]
        return fitting[-1] if fitting else None

    def with_(self, calibration: Calibration) -> CalibrationFile:
        """With this one added; another of the same target is replaced."""
        others = [e for e in self.calibrations if e.key.target != calibration.key.target]
        return CalibrationFile(calibrations=[*others, calibration])

    def to_bytes(self) -> bytes:
        return (self.model_dump_json(indent=None) + "\n").encode()


def read_calibrations(path: Path, model_sha256: str) -> CalibrationFile:
    """InputError where the file is none, or where it was made of another model."""
    try:
        found = CalibrationFile.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: not a calibration of this version; calibrate again with a folder of images"
        ) from error
    for entry in found.calibrations:
        if entry.key.model_sha256 != model_sha256:
            raise InputError(
                f"{path}: was made of another model (sha256 {entry.key.model_sha256[:12]}, this one has "
                f"{model_sha256[:12]}); calibrate again with a folder of images"
            )
    return found


def _short(values: np.ndarray) -> list[float]:
    """float32 values in as few digits as tell them apart."""
    return [float(f"{value:.9g}") for value in np.asarray(values, np.float32).tolist()]
