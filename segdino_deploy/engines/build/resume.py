"""Which engine of a bundle is the one that a line would build: `--resume` leaves it, and builds all others."""

from __future__ import annotations

from collections.abc import Mapping

from segdino_deploy import __version__
from segdino_deploy.bundle import Bundle
from segdino_deploy.engines.build.backends import BACKENDS
from segdino_deploy.engines.build.options import BuildOptions, engine_name
from segdino_deploy.engines.calibration.calibrate import stored_calibration
from segdino_deploy.engines.lowering.choose import AS_EXPORTED, AUTO, NONE
from segdino_deploy.engines.precision.int8.model import unsearched_groups
from segdino_deploy.engines.precision.int8.targets import TARGETS
from segdino_deploy.engines.precision.typed import half_images_hash
from segdino_deploy.engines.tensorrt.versions import RECEIPT_OPTIONS, options_for_receipt
from segdino_deploy.errors import InputError
from segdino_deploy.export.graph import load_onnx
from segdino_deploy.manifest import Asked, Engine, TypedModel


def find_built(bundle: Bundle, options: BuildOptions) -> Engine | None:
    """The engine that these options, which name a backend, would build, where the bundle has it.

    Same model (calibration, groups), spellings, inference precision, TensorRT options, library and device; what cannot
    be shown to be the same is not. A search (`budget`) is done anew each time.
    """
    engine = bundle.manifest.engines.get(engine_name(options))
    if engine is None or engine.asked is None or options.budget is not None:
        return None
    is_same = (
        engine.asked.tool_version == __version__
        and _is_spelled_alike(engine, engine.asked, options)
        and _is_computed_alike(engine, engine.asked, options)
        and engine.receipt.get(RECEIPT_OPTIONS, {}) == options_for_receipt(options.tensorrt)
        and engine.built_with == BACKENDS[engine.backend].identify()
        and bundle.is_intact(engine)
        and _has_same_model(bundle, engine, engine.asked, options)
    )
    return engine if is_same else None


def _is_spelled_alike(engine: Engine, asked: Asked, options: BuildOptions) -> bool:
    """Names say what comes out; `auto` measures, so that only what was chosen by `auto` is the same."""
    if options.lowering == (AUTO,):
        return asked.lowering == [AUTO]
    chosen = [record.chosen for record in engine.lowering if record.chosen != AS_EXPORTED]
    return chosen == [name for name in options.lowering if name != NONE]


def _is_computed_alike(engine: Engine, asked: Asked, options: BuildOptions) -> bool:
    if options.inference_precision is None:
        return asked.inference_precision is None
    return engine.inference_precision == options.inference_precision


def _has_same_model(bundle: Bundle, engine: Engine, asked: Asked, options: BuildOptions) -> bool:
    """Whether the typed model would be made as it is. (An engine goes when its model is made anew.)"""
    record = next((model for model in bundle.manifest.onnx.values() if model.file == engine.source), None)
    if record is None or engine.precision == "fp32":
        return record is not None
    drawn = (options.calibration_images, options.seed)
    if options.calibration is None and drawn not in ((None, 0), (asked.calibration_images, asked.seed)):
        return False
    try:
        return _has_same_int8(bundle, engine, record, options) if record.int8 else _has_same_half(record, options)
    except InputError:  # no calibration, images that are gone: building says so
        return False


def _has_same_half(record: TypedModel, options: BuildOptions) -> bool:
    if options.calibration is None:  # the model that is there is taken
        return True
    return record.images_sha256 == half_images_hash(options.how_to_calibrate)


def _has_same_int8(bundle: Bundle, engine: Engine, record: TypedModel, options: BuildOptions) -> bool:
    assert record.int8 is not None
    target = TARGETS[engine.backend]
    stored = stored_calibration(bundle, target, options.how_to_calibrate)
    if stored is None or stored.calibration.sha256 != record.int8.calibration_sha256:
        return False
    floats: Mapping[str, str] = record.int8.floats
    if options.fp32_groups is not None:
        return set(floats) == set(options.fp32_groups)
    source = load_onnx(bundle.file(bundle.manifest.onnx["fp32"].file))
    return set(floats) == set(unsearched_groups(source, target))
