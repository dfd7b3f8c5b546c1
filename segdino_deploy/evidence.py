"""How close a model is to the reference: pure functions on arrays, shared by export, build, verify and bench."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.errors import CheckFailed
from segdino_deploy.manifest import CanaryRecord, ParityRecord, Precision, head_and_kind

Float = NDArray[np.float32]
UInt8 = NDArray[np.uint8]
Outputs = Mapping[str, NDArray[np.generic]]

# Largest relative logit error that the canary allows. fp32: rounding only. The others: well above what a sound
# conversion shows on the golden models and the trained ViT-S, well below what a miscompiled one shows.
TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "fp16": 2e-2, "bf16": 8e-2, "int8": 3e-1}
# Smallest share of the canary's pixels that must keep their class.
MIN_AGREEMENT: dict[Precision, float] = {"fp32": 0.999, "fp16": 0.995, "bf16": 0.98, "int8": 0.95}


def mask_from_logits(logits: Float, threshold: float) -> UInt8:
    """`[N, C, H, W]` to uint8 `[N, H, W]`: 0/1 for one class (logit > log(T / (1 - T))), else the argmax."""
    if logits.shape[1] == 1:
        return np.asarray(logits[:, 0] > logit_of(threshold), dtype=np.uint8)
    return np.asarray(logits.argmax(axis=1), dtype=np.uint8)


def probability_from_logits(logits: Float) -> Float:
    """`[N, C, H, W]`: sigmoid for one class, softmax over the classes for several."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True)) if logits.shape[1] > 1 else np.exp(-np.abs(logits))
    if logits.shape[1] > 1:
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float32)
    return np.asarray(np.where(logits >= 0, 1 / (1 + shifted), shifted / (1 + shifted)), dtype=np.float32)


def logit_of(threshold: float) -> float:
    """log(T / (1 - T)): the logit at which the sigmoid is T."""
    return math.log(threshold / (1 - threshold))


def margins(logits: Float, threshold: float) -> Float:
    """How far each pixel is from changing class, `[N, H, W]`: distance to the threshold, or best minus second best."""
    if logits.shape[1] == 1:
        return np.asarray(np.abs(logits[:, 0] - np.float32(logit_of(threshold))), dtype=np.float32)
    top = np.partition(logits, -2, axis=1)
    return np.asarray(top[:, -1] - top[:, -2], dtype=np.float32)


def logit_scale(logits: Float) -> float:
    """max(1, largest |logit|): what relative errors are relative to."""
    return max(1.0, float(np.abs(logits).max()))


def relative_error(reference: Float, logits: Float) -> float:
    """max |difference| / max(1, max |reference|). NaN counts as infinite."""
    error = float(np.abs(reference.astype(np.float64) - logits).max()) / logit_scale(reference)
    return error if math.isfinite(error) else math.inf


def mask_agreement(a: UInt8, b: UInt8) -> float:
    """Share of pixels with the same class, 0 to 1."""
    return float(np.mean(a == b))


def parity(
    images: str,
    backend: str,
    reference: Float,
    logits: Float,
    threshold: float,
    tolerance: float | None,
    head: str = "",
) -> ParityRecord:
    """The record of one comparison of one head's logits."""
    return ParityRecord(
        head=head,
        images=images,
        backend=backend,
        max_abs_error=float(np.abs(reference - logits).max()),
        max_abs_logit=float(np.abs(reference).max()),
        relative_error=relative_error(reference, logits),
        mask_agreement=mask_agreement(mask_from_logits(reference, threshold), mask_from_logits(logits, threshold)),
        tolerance=tolerance,
    )


def require(record: ParityRecord) -> ParityRecord:
    """The record itself, or CheckFailed where it misses its tolerance."""
    if record.tolerance is not None and not record.relative_error <= record.tolerance:
        whose = f" of {record.head}" if record.head else ""
        raise CheckFailed(
            f"parity{whose} failed on {record.images} images with {record.backend}: relative error "
            f"{record.relative_error:.2e}, allowed {record.tolerance:.0e}; nothing was written"
        )
    return record


def check_canary(reference: Float, outputs: Outputs, threshold: float, precision: Precision) -> CanaryRecord:
    """Compares one head's outputs for the canary with the reference logits `[N, C, H, W]`.

    Logits, where the engine gives them, must be within the precision's tolerance. A mask may differ only at pixels
    whose reference margin is within it (a pixel that the reference is sure of must not change), and only at a small
    share of all pixels (`MIN_AGREEMENT`).
    """
    tolerance = TOLERANCE[precision]
    scale = logit_scale(reference)
    expected = mask_from_logits(reference, threshold)
    error = relative_error(reference, np.asarray(outputs["logits"], np.float32)) if "logits" in outputs else None
    mask = mask_from_outputs(outputs, threshold)
    different = mask != expected
    if "mask" not in outputs and "logits" not in outputs:  # NaN is no probability, even where it is read as the class
        different |= np.isnan(outputs["probability"]).any(axis=1)
    worst = float(margins(reference, threshold)[different].max()) / scale if different.any() else 0.0
    problems = []
    if error is not None and not error <= tolerance:
        problems.append(f"relative logit error {error:.2e}, allowed {tolerance:.0e}")
    if worst > 2 * tolerance:  # two logits may move towards each other
        problems.append(f"a pixel with margin {worst:.2e} changed class, allowed {2 * tolerance:.0e}")
    agreement = 1.0 - float(np.mean(different))
    if agreement < MIN_AGREEMENT[precision]:
        problems.append(f"only {100 * agreement:.2f}% of the pixels keep their class")
    return CanaryRecord(
        passed=not problems,
        mask_agreement=agreement,
        relative_error=error if error is None or math.isfinite(error) else None,  # JSON has no infinity
        worst_margin=worst,
        detail="; ".join(problems),
    )


def check_heads(
    references: Mapping[str, Float], outputs: Outputs, thresholds: Mapping[str, float], precision: Precision
) -> CanaryRecord:
    """`check_canary` of every head; `references` and `thresholds` by head name, `outputs` by tensor name."""
    records = [
        check_canary(reference, outputs_of(outputs, head), thresholds[head], precision).model_copy(
            update={"head": head}
        )
        for head, reference in references.items()
    ]
    return records[0] if list(references) == [""] else worst_of(records)


def worst_of(records: Sequence[CanaryRecord]) -> CanaryRecord:
    """The worst value of each measure over several heads, with the heads' own records."""
    errors = [math.inf if record.relative_error is None else record.relative_error for record in records]
    return CanaryRecord(
        passed=all(record.passed for record in records),
        mask_agreement=min(record.mask_agreement for record in records),
        relative_error=max(errors) if math.isfinite(max(errors)) else None,
        worst_margin=max(record.worst_margin for record in records),
        detail="; ".join(f"{record.head}: {record.detail}" for record in records if record.detail),
        heads=list(records),
    )


def outputs_of(outputs: Outputs, head: str) -> dict[str, NDArray[np.generic]]:
    """One head's outputs under their kinds: of `polyp.mask` and `lesion.mask`, `polyp` has `mask`."""
    return {kind: array for name, array in outputs.items() for owner, kind in [head_and_kind(name)] if owner == head}


def masks_from_outputs(outputs: Outputs, thresholds: Mapping[str, float]) -> dict[str, UInt8]:
    """uint8 `[N, H, W]` by head, from whichever outputs the model was exported with."""
    return {head: mask_from_outputs(outputs_of(outputs, head), threshold) for head, threshold in thresholds.items()}


def mask_from_outputs(outputs: Outputs, threshold: float) -> UInt8:
    """uint8 `[N, H, W]` from whichever outputs one head has."""
    if "mask" in outputs:
        return np.asarray(outputs["mask"], np.uint8)
    if "logits" in outputs:
        return mask_from_logits(np.asarray(outputs["logits"], np.float32), threshold)
    return mask_from_probability(np.asarray(outputs["probability"], np.float32), threshold)


def mask_from_probability(probability: Float, threshold: float) -> UInt8:
    """`[N, C, H, W]` to uint8 `[N, H, W]`, for models that give probabilities only."""
    if probability.shape[1] == 1:
        return np.asarray(probability[:, 0] > threshold, dtype=np.uint8)
    return np.asarray(probability.argmax(axis=1), dtype=np.uint8)
