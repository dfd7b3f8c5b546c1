"""Which spellings an engine gets: measured here, part by part, each variant checked against the reference."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx
from numpy.typing import NDArray

from segdino_deploy.engines.lowering import LOWERINGS
from segdino_deploy.errors import InputError, one_line
from segdino_deploy.evidence import relative_error
from segdino_deploy.export.graph import with_logits
from segdino_deploy.manifest import LoweringRecord, Precision, output_name
from segdino_deploy.progress import OnStep
from segdino_deploy.timing import every_round, interleave, median_ratio

if TYPE_CHECKING:
    from segdino_deploy.engines.build.contract import BuildRequest

AUTO, NONE = "auto", "none"
AS_EXPORTED = "as exported"
SECONDS_PER_VARIANT = 3.0
ROUNDS = (4, 9)  # at least, at most
WORTH = 1.02  # times faster, below which the model is left as it was exported
# How much farther than the model as exported a variant's logits may be from the reference, relative: rounding only.
EXTRA_ERROR: dict[Precision, float] = {"fp32": 2e-5, "fp16": 5e-3, "bf16": 2e-2, "int8": 2e-2}

Outputs = Mapping[str, NDArray[np.generic]]
Run = Callable[[], Outputs]  # runs the canary once
Open = Callable[[onnx.ModelProto], Run]  # loads a model into the backend; raises whatever the backend raises


def parse_lowering(text: str) -> tuple[str, ...]:
    """`auto`, `none` or names separated by commas. InputError names the ones that exist."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if names in ((AUTO,), (NONE,)):
        return names
    for name in names or ("",):
        if name in (AUTO, NONE):
            raise InputError(f"--lowering: {name} stands alone; leave it out, or leave out the names")
        if name not in LOWERINGS:
            raise InputError(f"--lowering: {name!r} is none of {AUTO}, {NONE}, {', '.join(LOWERINGS)}")
        if names.count(name) > 1:
            raise InputError(f"--lowering: {name} is given twice")
    parts = [LOWERINGS[name].part for name in names]
    for part in parts:
        if parts.count(part) > 1:
            clash = ", ".join(name for name in names if LOWERINGS[name].part == part)
            raise InputError(f"--lowering: {clash} spell the same part of the graph ({part}): name one of them")
    return names


def check_backend(backend: str, names: Sequence[str]) -> None:
    """InputError where a named spelling is not for this backend."""
    for name in names:
        if name in LOWERINGS and backend not in LOWERINGS[name].backends:
            fitting = ", ".join(entry.name for entry in LOWERINGS.values() if backend in entry.backends)
            raise InputError(f"--lowering: {name} is not for {backend}, which takes {fitting}")


def lower(request: BuildRequest, backend: str, open_model: Open | None) -> tuple[onnx.ModelProto, list[LoweringRecord]]:
    """The request's model as its `lowering` asks, and the record of it.

    `open_model` None: the backend cannot run here, so that nothing can be measured; `auto` then takes only what
    needs no measurement.
    """
    if request.lowering == (NONE,):
        return request.model, []
    if request.lowering != (AUTO,):
        return apply_lowerings(request.model, backend, request.lowering)
    if open_model is None:
        return apply_unmeasured(request.model, backend)
    canary = {output_name(head, "logits"): logits for head, logits in request.canary.logits.items()}
    return choose_lowerings(request.model, backend, open_model, canary, EXTRA_ERROR[request.precision], request.on_step)


def apply_lowerings(
    model: onnx.ModelProto, backend: str, names: Sequence[str]
) -> tuple[onnx.ModelProto, list[LoweringRecord]]:
    """The model with the named spellings. InputError where one is not for this backend or finds nothing to rewrite."""
    check_backend(backend, names)
    records = []
    for name in names:
        lowered = LOWERINGS[name].rewrite(model)
        if lowered is None:
            raise InputError(f"--lowering: {name} finds nothing to rewrite in this model")
        model = lowered
        records.append(LoweringRecord(part=LOWERINGS[name].part, chosen=name, note=LOWERINGS[name].note))
    return model, records


def apply_unmeasured(model: onnx.ModelProto, backend: str) -> tuple[onnx.ModelProto, list[LoweringRecord]]:
    """The model with the spellings that `auto` takes without a measurement, where they find something to rewrite."""
    entries = [entry for entry in LOWERINGS.values() if entry.is_taken_unmeasured and backend in entry.backends]
    fitting = [entry.name for entry in entries if entry.rewrite(model) is not None]
    return apply_lowerings(model, backend, fitting)


def choose_lowerings(
    model: onnx.ModelProto,
    backend: str,
    open_model: Open,
    reference: Outputs,
    extra_error: float,
    on_step: OnStep,
) -> tuple[onnx.ModelProto, list[LoweringRecord]]:
    """The fastest spelling of every part, by interleaved runs of the canary, and what was measured.

    `reference`: the canary's logits by tensor name. A variant that the backend refuses, or whose logits are farther
    from them than those of `model` by more than `extra_error` (relative), is left out and recorded with the reason.
    All are run with logits among their outputs, which costs each of them the same.
    """
    run = open_model(with_logits(model))
    allowed = _error(reference, run()) + extra_error
    records = []
    for part in dict.fromkeys(entry.part for entry in LOWERINGS.values() if backend in entry.backends):
        record = LoweringRecord(part=part, chosen=AS_EXPORTED, times_faster=1.0)
        best = (WORTH, model, run)
        medians: dict[str, float] = {}
        refused: dict[str, str] = {}
        for entry in LOWERINGS.values():
            variant = entry.rewrite(model) if entry.part == part and backend in entry.backends else None
            if variant is None:
                continue
            on_step(f"measuring {entry.name}")
            try:
                variant_run = open_model(with_logits(variant))
                error = _error(reference, variant_run())
            except Exception as failure:  # backends' exceptions share no base; the reason is kept
                refused[entry.name] = one_line(failure)
                continue
            if not error <= allowed:
                refused[entry.name] = f"logits are {error:.1e} from the reference, allowed {allowed:.1e}"
                continue
            faster, base_ms, variant_ms = _compare(run, variant_run)
            medians = {AS_EXPORTED: base_ms} | medians | {entry.name: variant_ms}
            if faster >= best[0]:
                best = (faster, variant, variant_run)
                record = record.model_copy(update={"chosen": entry.name, "times_faster": faster, "note": entry.note})
        if medians or refused:
            records.append(record.model_copy(update={"median_ms": medians, "refused": refused}))
        _, model, run = best
    return model, records


def _error(reference: Outputs, found: Outputs) -> float:
    """The largest relative error over the heads."""
    return max(
        relative_error(np.asarray(logits, np.float32), np.asarray(found[name], np.float32))
        for name, logits in reference.items()
    )


def _compare(base: Run, variant: Run) -> tuple[float, float, float]:
    """How many times faster the variant is, and the median milliseconds of both.

    By the median over the rounds or by the best round, whichever says less: a busy machine moves only one of them.
    """
    runs = {"base": every_round(base), "variant": every_round(variant)}
    samples = interleave(runs, ROUNDS[1], warmup=1, at_least=ROUNDS[0], seconds=SECONDS_PER_VARIANT)
    base_ms, variant_ms = samples["base"], samples["variant"]
    faster = min(median_ratio(base_ms, variant_ms), min(base_ms) / min(variant_ms))
    return round(faster, 3), round(statistics.median(base_ms), 3), round(statistics.median(variant_ms), 3)
