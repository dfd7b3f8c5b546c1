"""From a bundle's fp32 model to the typed model of another precision, with its evidence."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from segdino_deploy.bundle import CANARY, Bundle
from segdino_deploy.canary import Canary
from segdino_deploy.engines.calibration.images import calibration_files, images_hash, stream_batches
from segdino_deploy.engines.calibration.ranges import observe_ranges
from segdino_deploy.engines.precision.cast import cast_model
from segdino_deploy.engines.precision.qdq import find_products, insert_qdq
from segdino_deploy.errors import InputError
from segdino_deploy.evidence import require
from segdino_deploy.export.graph import load_onnx
from segdino_deploy.export.verify import measure_parity
from segdino_deploy.manifest import Precision, TypedModel
from segdino_deploy.progress import OnCount, ignore
from segdino_deploy.receipts import typed_model_record

CALIBRATION_FILE = "calibration.json"


@dataclass(frozen=True)
class TypedResult:
    """A typed model, its record, and the other files that belong into the bundle with it."""

    model: onnx.ModelProto
    record: TypedModel
    files: dict[str, bytes] = field(default_factory=dict)


def make_typed_model(
    bundle: Bundle,
    precision: Precision,
    calibration: Path | None = None,
    on_image: OnCount = ignore,
) -> TypedResult:
    """The bundle's model in `precision`: the one it has, or a new one checked on the canary.

    `calibration`: a folder of images, needed for a first int8 model; other images than last time make it anew.
    Raises InputError (no calibration images), CheckFailed (range, parity).
    """
    known = bundle.manifest.onnx.get(precision)
    if known is not None and (precision != "int8" or calibration is None or is_calibrated_on(bundle, calibration)):
        return TypedResult(load_onnx(bundle.file(known.file)), known)
    source = load_onnx(bundle.file(bundle.manifest.onnx["fp32"].file))
    canary = Canary.read(bundle.file(CANARY))
    files: dict[str, bytes] = {}
    kept: list[str] = []
    images = None
    if precision == "int8":
        if calibration is None:
            raise InputError(
                "int8 needs images like those the model will see: name their folder with --calibration DIR"
            )
        model, files[CALIBRATION_FILE], images = _quantize(bundle, source, calibration, on_image)
        kept = ["all but the quantized products: residuals, normalisations, softmax, attention, first and last layer"]
    else:
        model, kept = cast_model(source, precision)
    thresholds = bundle.manifest.model.thresholds
    # ONNX Runtime's CPU provider has no bf16 kernels: a bf16 model is checked by the engines that are built from it.
    records = [] if precision == "bf16" else measure_parity(model, precision, canary, thresholds)
    name = f"model.{precision}.onnx"
    record = typed_model_record(
        model,
        name,
        precision,
        parity=[require(item) for item in records],
        kept_fp32=kept,
        calibration_images=images,
    )
    files[name] = model.SerializeToString(deterministic=True)
    return TypedResult(model, record, files)


def is_calibrated_on(bundle: Bundle, directory: Path) -> bool:
    """Whether the bundle's int8 model was calibrated on exactly these images."""
    path = bundle.file(CALIBRATION_FILE)
    if not path.is_file():
        return False
    return bool(json.loads(path.read_text())["images_sha256"] == images_hash(calibration_files(directory)))


def _quantize(
    bundle: Bundle, source: onnx.ModelProto, directory: Path, on_image: OnCount
) -> tuple[onnx.ModelProto, bytes, int]:
    card = bundle.manifest.model
    paths = calibration_files(directory)
    tensors = [product.activation for product in find_products(source)]
    ranges = observe_ranges(source, tensors, stream_batches(paths, card, on_image))
    record = {
        "method": "minmax",
        "model_sha256": bundle.manifest.files[bundle.manifest.onnx["fp32"].file].sha256,
        "images": len(paths),
        "images_sha256": images_hash(paths),
        "ranges": {name: list(seen) for name, seen in ranges.items()},
    }
    return insert_qdq(source, ranges), (json.dumps(record, indent=1) + "\n").encode(), len(paths)
