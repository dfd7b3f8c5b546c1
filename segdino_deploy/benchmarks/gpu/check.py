"""Whether a contestant computes what PyTorch eager in fp32 computes, and what its failures are called."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from segdino_deploy.benchmarks.gpu.contestants.contract import Outputs
from segdino_deploy.benchmarks.gpu.result import RefusalKind
from segdino_deploy.canary import Canary
from segdino_deploy.errors import CheckFailed, one_line
from segdino_deploy.evidence import check_heads, masks_from_outputs, outputs_of, relative_error
from segdino_deploy.manifest import Precision

# What libraries say where there is too little memory, in small letters: their exceptions share no base.
NO_MEMORY = (
    "out of memory",
    "outofmemory",
    "cudaerrormemoryallocation",
    "failed to allocate memory",
    "cuda failure 2:",
    "bad_alloc",
)


@dataclass(frozen=True)
class Answer:
    """How near the outputs for the canary are: the worst head of each."""

    relative_error: float  # of the logits: largest difference / max(1, largest |logit|)
    mask_agreement: float  # share of pixels with the same class, 0 to 1


def compare(canary: Canary, outputs: Outputs, thresholds: Mapping[str, float], precision: Precision) -> Answer:
    """CheckFailed where the answer is wrong, by the rules of every build.

    Of int8 only NaN is wrong here: the colours of the canary may lie far outside the ranges that it was calibrated on.
    The build has compared its engine with the int8 model itself.
    """
    errors = [
        relative_error(logits, np.asarray(outputs_of(outputs, head)["logits"], np.float32))
        for head, logits in canary.logits.items()
    ]
    masks = masks_from_outputs(outputs, thresholds)
    agreement = min(float((masks[head] == expected).mean()) for head, expected in canary.mask.items())
    if not math.isfinite(max(errors)):
        raise CheckFailed("its logits for the canary are no numbers")
    if precision != "int8":
        record = check_heads(canary.logits, outputs, thresholds, precision)
        if not record.passed:
            raise CheckFailed(f"its answer to the canary is wrong: {record.detail}")
    return Answer(max(errors), agreement)


def is_out_of_memory(error: BaseException) -> bool:
    text = f"{type(error).__name__} {error}".lower()
    return isinstance(error, MemoryError) or any(part in text for part in NO_MEMORY)


def reason_of(error: BaseException, limit: int = 300) -> str:
    """Its first line, at most `limit` characters, without the temporary folder of the case's files."""
    text = re.sub(r"[^\s:'\"]*/((?:folded|plain)\.segdino)\b", r"\1", one_line(error, 10 * limit))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def kind_of(error: BaseException) -> RefusalKind:
    """Of an error while a contestant was prepared, opened or measured. (Whether it is installed is asked before.)"""
    if is_out_of_memory(error):
        return "memory"
    return "check" if isinstance(error, CheckFailed) else "failed"
