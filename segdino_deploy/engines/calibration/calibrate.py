"""The calibration of a bundle's model: from the cache where it fits, else from the images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from segdino_deploy.atomic import sha256_of
from segdino_deploy.bundle import Bundle
from segdino_deploy.engines.calibration.coverage import coverage_of, describe, warnings
from segdino_deploy.engines.calibration.histogram import check_image_count
from segdino_deploy.engines.calibration.images import (
    calibration_files,
    images_hash,
    readable_images,
    stream_batches,
    survey,
)
from segdino_deploy.engines.calibration.record import (
    CALIBRATION_FILE,
    Calibration,
    CalibrationFile,
    CalibrationKey,
    read_calibrations,
)
from segdino_deploy.engines.precision.int8.model import calibrate
from segdino_deploy.engines.precision.int8.targets import Int8Target
from segdino_deploy.errors import InputError
from segdino_deploy.progress import OnStage, ignore

DEFAULT_METHOD = "minmax"
NEEDS_IMAGES = "int8 needs images like those the model will see: name their folder with --calibration DIR"


@dataclass(frozen=True)
class CalibrationOptions:
    """How to calibrate. `source`: folder, list file or `calibration.json`; None: what the bundle has."""

    source: Path | None = None
    method: str | None = None  # None: minmax, or what a stored calibration was made with
    limit: int | None = None  # at most so many images, drawn with `seed`
    seed: int = 0
    skip_unreadable: bool = False
    image_dir: str = "image"  # the images' folder in a data set
    strengths: Mapping[str, float] | None = None  # of smoothing, from a recipe; None: searched

    @property
    def names_images(self) -> bool:
        """Whether `source` names images, rather than nothing or what was measured on some."""
        return self.source is not None and self.source.suffix != ".json"

    @property
    def files(self) -> list[Path]:
        """The images that `source` names, those that are drawn. InputError as `calibration_files`."""
        assert self.source is not None
        return calibration_files(self.source, self.image_dir, limit=self.limit, seed=self.seed)


@dataclass(frozen=True)
class Calibrated:
    """A calibration, the file that holds it, and what the user should read."""

    calibration: Calibration
    file: CalibrationFile
    images: list[Path] = field(default_factory=list)  # empty where only a `calibration.json` was given
    notes: list[str] = field(default_factory=list)


def calibrate_bundle(
    bundle: Bundle,
    source: onnx.ModelProto,
    target: Int8Target,
    options: CalibrationOptions,
    on_count: OnStage = ignore,
) -> Calibrated:
    """Raises InputError (no or too few images, unreadable ones, another model's cache), CheckFailed (ranges)."""
    stored = stored_calibration(bundle, target, options)
    if stored is not None:
        return stored
    model_sha256 = _model_sha256(bundle)
    cached = _cached(bundle, model_sha256, is_needed=False)
    method, files = options.method or DEFAULT_METHOD, options.files
    key = CalibrationKey(model_sha256=model_sha256, images_sha256=images_hash(files), method=method, target=target.key)
    seen = survey(files, partial(on_count, "reading calibration images"))
    files = readable_images(files, seen, options.skip_unreadable)
    check_image_count(method, len(files))
    card = bundle.manifest.model
    passes = iter(("measuring activations", "histograms"))

    def batches() -> Iterator[NDArray[np.uint8]]:
        return stream_batches(files, card, partial(on_count, next(passes)))

    result, shares = calibrate(source, card, target, batches, len(files), method, options.strengths, on_count)
    coverage = coverage_of(seen, shares)
    calibration = Calibration(
        key=key,
        image_sha256=[sha256_of(file) for file in files],
        coverage=coverage,
        channels=result.channels,
        strengths=result.strengths,
        searched=options.strengths is None,
        ranges=result.ranges,
    )
    notes = [f"calibrated on {describe(coverage)}", *(f"warning: {text}" for text in warnings(coverage))]
    return Calibrated(calibration, cached.with_(calibration), files, notes)


def stored_calibration(bundle: Bundle, target: Int8Target, options: CalibrationOptions) -> Calibrated | None:
    """What `options` take from a `calibration.json`; None where images have to be measured.

    Raises InputError: no images named and nothing stored, or what is stored is not what was asked for.
    """
    model_sha256 = _model_sha256(bundle)
    given = options.source
    cached = _cached(bundle, model_sha256, is_needed=given is None)
    if given is None or (given.is_file() and given.suffix == ".json"):
        file = cached if given is None else read_calibrations(given, model_sha256)
        found = file.newest(model_sha256, target.key)
        if found is None:
            if given is None:
                raise InputError(NEEDS_IMAGES)
            raise InputError(f"{given}: holds no calibration for {target.key}; calibrate with a folder of images")
        _check_fits(found, options, str(given or CALIBRATION_FILE))
        return Calibrated(found, file)
    method, files = options.method or DEFAULT_METHOD, options.files
    key = CalibrationKey(model_sha256=model_sha256, images_sha256=images_hash(files), method=method, target=target.key)
    known = cached.find(key)
    if known is not None and (known.searched if options.strengths is None else options.strengths == known.strengths):
        readable = set(known.image_sha256)
        used = [file for file in files if sha256_of(file) in readable]
        if options.skip_unreadable or len(used) == len(files):
            note = f"calibration found in {CALIBRATION_FILE}: same model, images and method"
            return Calibrated(known, cached, used, [note])
    return None


def _check_fits(found: Calibration, options: CalibrationOptions, file: str) -> None:
    """InputError where a stored calibration is not the one that was asked for."""
    if options.method not in (None, found.key.method):
        raise InputError(
            f"{file}: was made with method {found.key.method}, {options.method} was asked for: "
            "name the images with --calibration DIR"
        )
    if options.strengths not in (None, found.strengths):
        raise InputError(
            f"{file}: was made with another smoothing than the recipe's: name its images with --calibration DIR"
        )


def _model_sha256(bundle: Bundle) -> str:
    return bundle.manifest.files[bundle.manifest.onnx["fp32"].file].sha256


def _cached(bundle: Bundle, model_sha256: str, *, is_needed: bool) -> CalibrationFile:
    """The bundle's own calibrations. Those of an earlier version or model count as none, unless they are needed."""
    path = bundle.file(CALIBRATION_FILE)
    if not path.is_file():
        return CalibrationFile()
    try:
        return read_calibrations(path, model_sha256)
    except InputError:
        if is_needed:
            raise
        return CalibrationFile()
