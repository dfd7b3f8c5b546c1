"""Layer by layer: where the file that an engine was built from departs from model.onnx, both in ONNX Runtime.

What a backend adds (its kernels, its fusions) is not in that file: it shows in the masks.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray

from segdino_deploy.benchmarks.differences.layer_errors import compare_models
from segdino_deploy.benchmarks.result import Layers
from segdino_deploy.bundle import Bundle
from segdino_deploy.engines.calibration.record import CALIBRATION_FILE, Calibration, read_calibrations
from segdino_deploy.engines.precision.int8.model import condition
from segdino_deploy.engines.precision.int8.targets import TARGETS
from segdino_deploy.errors import InputError
from segdino_deploy.export.graph import load_onnx
from segdino_deploy.manifest import Engine, TypedModel
from segdino_deploy.progress import OnCount, ignore


def compare_layers(bundle: Bundle, engine_name: str, images: NDArray[np.uint8], on_count: OnCount = ignore) -> Layers:
    """Every layer of the typed file that an engine was built from, over `images` (uint8 `[N, H, W, 3]`).

    Of an int8 model the reference is model.onnx respelled, centred and smoothed as it was before it was quantized: the
    same function in fp32, whose inner values are those that int8 rounds. The rule of `departs_most`: `compare_models`.
    Raises InputError for what `why_no_layers` says, CheckFailed where a value is NaN or infinite, by name.
    """
    reason = why_no_layers(bundle, engine_name)
    if reason:
        raise InputError(f"{engine_name}: {reason}")
    engine = bundle.manifest.engines[engine_name]
    typed = load_onnx(bundle.file(engine.source))
    compared = compare_models(_reference(bundle, engine), typed, images, bundle.manifest.model.batch.min, on_count)
    return Layers(file=engine.source, images=len(images), layers=compared.layers, departs_most=compared.departs_most)


def why_no_layers(bundle: Bundle, engine_name: str) -> str:
    """Why there is nothing to compare, for the user to read; empty where there is."""
    engine = bundle.manifest.engines.get(engine_name)
    if engine is None:
        return f"is no engine of {bundle.path.name}"
    fp32 = bundle.manifest.onnx["fp32"].file
    if engine.source == fp32:
        return f"was built from {fp32} itself: its layers differ by the backend's own kernels only"
    typed = _typed(bundle, engine)
    if typed is None:
        return f"{engine.source}, which it was built from, is not in the bundle; build it again"
    if typed.int8 is None:
        return ""
    found = _calibration(bundle, engine)
    if found is None:
        return f"its calibration is not in {CALIBRATION_FILE}; build it again with --calibration"
    if (found.strengths, found.images) != (typed.int8.strengths, typed.calibration_images):
        return f"{CALIBRATION_FILE} holds another calibration than it was built with; build it again"
    return ""


def _typed(bundle: Bundle, engine: Engine) -> TypedModel | None:
    return next((entry for entry in bundle.manifest.onnx.values() if entry.file == engine.source), None)


def _calibration(bundle: Bundle, engine: Engine) -> Calibration | None:
    files = bundle.manifest.files
    if CALIBRATION_FILE not in files:
        return None
    sha256 = files[bundle.manifest.onnx["fp32"].file].sha256
    return read_calibrations(bundle.file(CALIBRATION_FILE), sha256).newest(sha256, TARGETS[engine.backend].key)


def _reference(bundle: Bundle, engine: Engine) -> onnx.ModelProto:
    """The fp32 model with the values that the typed one rounds."""
    source = load_onnx(bundle.file(bundle.manifest.onnx["fp32"].file))
    if engine.precision != "int8":
        return source
    found = _calibration(bundle, engine)
    assert found is not None  # see why_no_layers
    return condition(source, TARGETS[engine.backend], found.channels, found.strengths).model
