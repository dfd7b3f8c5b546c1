"""From a bundle's fp32 model to the typed model of another precision, with its evidence."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import onnx
from numpy.typing import NDArray

from segdino_deploy.bundle import CANARY, Bundle
from segdino_deploy.canary import Canary, canary_for
from segdino_deploy.engines.calibration.calibrate import CalibrationOptions, calibrate_bundle
from segdino_deploy.engines.calibration.images import (
    evenly_spread,
    images_hash,
    readable_images,
    stream_batches,
    survey,
)
from segdino_deploy.engines.calibration.record import CALIBRATION_FILE, Calibration
from segdino_deploy.engines.precision.half import make_half_model
from segdino_deploy.engines.precision.int8.model import Conditioned, check_groups, condition, groups_at
from segdino_deploy.engines.precision.int8.targets import TARGETS, Int8Target
from segdino_deploy.evidence import TOLERANCE, parity, require
from segdino_deploy.export.graph import load_onnx
from segdino_deploy.export.verify import measure_parity, onnx_logits
from segdino_deploy.manifest import Int8Record, Precision, TypedModel
from segdino_deploy.progress import OnStage, ignore
from segdino_deploy.receipts import typed_model_record

PARITY_IMAGES = 4  # of calibration, that every int8 model is compared on
NEEDS_SEARCH = "int8 probabilities are taken only where a search (--max-drop) has measured them"
UNQUANTIZED = "all but the quantized products: residuals, normalisations, softmax, first and last layers"


@dataclass(frozen=True)
class TypedResult:
    """A typed model, its key and record, and the other files that belong into the bundle with it."""

    model: onnx.ModelProto
    key: str  # of the manifest's `onnx`
    record: TypedModel
    canary: Canary  # what its engines must answer
    files: dict[str, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # for the user to read


@dataclass(frozen=True)
class Int8Source:
    """What int8 models of one bundle and target are made of: made once, quantized with many plans."""

    target: Int8Target
    calibration: Calibration
    conditioned: Conditioned
    files: dict[str, bytes]
    notes: list[str]
    samples: list[NDArray[np.uint8]]  # batches of calibration images; none where only a `calibration.json` was given

    @property
    def unsearched(self) -> dict[str, str]:
        """The groups that stay in fp32 where no search has shown that they may be int8.

        Probabilities below half a step vanish: harmless in most blocks, ruinous in some (see `centring`).
        """
        return {p.group: NEEDS_SEARCH for p in self.conditioned.products if p.kind == "values"}

    def model(self, floats: Mapping[str, str]) -> onnx.ModelProto:
        """The typed model in which the groups `floats` stay in fp32."""
        return self.conditioned.quantized(self.calibration.ranges, self.target, floats)


def make_typed_model(
    bundle: Bundle,
    precision: Precision,
    backend: str,
    calibration: CalibrationOptions = CalibrationOptions(),
    floats: Mapping[str, str] | None = None,
    on_count: OnStage = ignore,
) -> TypedResult:
    """The bundle's model in `precision`, for int8 as `backend` wants it, checked on the canary.

    `floats`: groups that stay in fp32 under int8, with the reason; None: those that need a search. A model that the
    bundle has is taken as it is, but for int8 and for 16 bits with calibration images, which are made from their
    evidence each time.
    Raises InputError (no calibration images, unknown group), CheckFailed (range, parity).
    """
    known = bundle.manifest.onnx.get(precision)
    if known is not None and precision != "int8" and (calibration.source is None or precision == "fp32"):
        return TypedResult(load_onnx(bundle.file(known.file)), precision, known, canary_for(bundle, known.file))
    if precision == "int8":
        if floats is not None:  # before calibration, which takes minutes
            fp32 = load_onnx(bundle.file(bundle.manifest.onnx["fp32"].file))
            check_groups(floats, groups_at(fp32, TARGETS[backend]))
        source = make_int8_source(bundle, backend, calibration, on_count)
        return int8_result(bundle, source, source.unsearched if floats is None else floats)
    return _half_result(bundle, precision, calibration, on_count)


def make_int8_source(
    bundle: Bundle, backend: str, calibration: CalibrationOptions, on_count: OnStage = ignore
) -> Int8Source:
    """Calibrates where that is needed and prepares the fp32 graph; the prepared graph must still answer the canary."""
    target = TARGETS[backend]
    source = load_onnx(bundle.file(bundle.manifest.onnx["fp32"].file))
    found = calibrate_bundle(bundle, source, target, calibration, on_count)
    conditioned = condition(source, target, found.calibration.channels, found.calibration.strengths)
    card = bundle.manifest.model
    for record in measure_parity(conditioned.model, "fp32", Canary.read(bundle.file(CANARY)), card.thresholds):
        require(record)
    spread = evenly_spread(len(found.images), PARITY_IMAGES)
    samples = list(stream_batches([found.images[index] for index in spread], card))
    content = found.file.to_bytes()
    files = {} if _is_stored(bundle, CALIBRATION_FILE, content) else {CALIBRATION_FILE: content}
    return Int8Source(target, found.calibration, conditioned, files, found.notes, samples)


def int8_result(bundle: Bundle, source: Int8Source, floats: Mapping[str, str]) -> TypedResult:
    """The typed int8 model of a plan, checked on calibration images, and its own answer to the canary."""
    model = source.model(floats)
    thresholds = bundle.manifest.model.thresholds
    image = Canary.read(bundle.file(CANARY)).image
    records, notes = [], list(source.notes)
    if not source.samples:
        notes.append("note: no calibration images at hand, so that the int8 model was not compared with fp32 anew")
    else:
        reference, run = onnx_logits(source.conditioned.model), onnx_logits(model)
        pairs = [(reference(batch), run(batch)) for batch in source.samples]
        records = [
            parity(
                "calibration",
                "onnxruntime",
                np.concatenate([expected[head] for expected, _ in pairs]),
                np.concatenate([found[head] for _, found in pairs]),
                threshold,
                TOLERANCE["int8"],
                head,
            )
            for head, threshold in thresholds.items()
        ]
    key, calibration = source.target.key, source.calibration
    canary = Canary.answered(image, onnx_logits(model), thresholds)
    canary_file = f"canary.{key}.npz"
    record = typed_model_record(
        model,
        f"model.{key}.onnx",
        "int8",
        parity=[require(item) for item in records],
        kept_fp32=[UNQUANTIZED, *(f"{group}: {why}" for group, why in floats.items())],
        calibration_images=calibration.images,
        int8=Int8Record(
            activations=source.target.activations,
            method=calibration.key.method,
            groups=[group for group in source.conditioned.groups if group not in floats],
            floats=dict(floats),
            strengths=calibration.strengths,
            coverage=calibration.coverage.model_dump(mode="json"),
            calibration_sha256=calibration.sha256,
        ),
        canary=canary_file,
    )
    files = {**source.files, canary_file: canary.to_bytes()}
    result = _with_file(bundle, model, key, record, canary, files, notes)
    known = bundle.manifest.onnx.get(key)
    if known is None or record.file in result.files:
        return result
    # The same file as before: why groups are in fp32 is known, and so is how it compares with fp32.
    int8 = known.int8 and known.int8.model_copy(update={"calibration_sha256": calibration.sha256})
    kept = {"int8": int8, "kept_fp32": known.kept_fp32}
    if not records:
        return replace(result, record=record.model_copy(update={**kept, "parity": known.parity}), notes=source.notes)
    return replace(result, record=record.model_copy(update=kept))


def half_images_hash(calibration: CalibrationOptions) -> str:
    """Of the images that decide what a 16-bit model keeps in fp32; empty: the canary."""
    if not calibration.names_images:
        return ""
    return images_hash(calibration.files)


def _half_result(
    bundle: Bundle, precision: Precision, calibration: CalibrationOptions, on_count: OnStage
) -> TypedResult:
    source = load_onnx(bundle.file(bundle.manifest.onnx["fp32"].file))
    canary = Canary.read(bundle.file(CANARY))
    images_sha256 = half_images_hash(calibration)
    if not calibration.names_images:
        half = make_half_model(source, precision, [canary.image], "the canary")
    else:
        files = calibration.files
        seen = survey(files, partial(on_count, "reading calibration images"))
        files = readable_images(files, seen, calibration.skip_unreadable)
        batches = stream_batches(files, bundle.manifest.model, partial(on_count, "largest values"))
        half = make_half_model(source, precision, batches, f"{len(files)} calibration images")
    # ONNX Runtime's CPU provider has no bf16 kernels: a bf16 model is checked by the engines that are built from it.
    thresholds = bundle.manifest.model.thresholds
    records = [] if precision == "bf16" else measure_parity(half.model, precision, canary, thresholds)
    record = typed_model_record(
        half.model,
        f"model.{precision}.onnx",
        precision,
        parity=[require(item) for item in records],
        kept_fp32=half.kept,
        largest_values=half.largest_values,
        checked_on=half.checked_on,
        images_sha256=images_sha256,
    )
    return _with_file(bundle, half.model, precision, record, canary, {}, [])


def _with_file(
    bundle: Bundle,
    model: onnx.ModelProto,
    key: str,
    record: TypedModel,
    canary: Canary,
    files: Mapping[str, bytes],
    notes: list[str],
) -> TypedResult:
    content = model.SerializeToString(deterministic=True)
    is_new = not _is_stored(bundle, record.file, content)
    return TypedResult(model, key, record, canary, {**files, **({record.file: content} if is_new else {})}, notes)


def _is_stored(bundle: Bundle, name: str, content: bytes) -> bool:
    known = bundle.manifest.files.get(name)
    return known is not None and known.sha256 == hashlib.sha256(content).hexdigest()
