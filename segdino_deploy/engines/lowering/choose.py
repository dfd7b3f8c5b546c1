"""Which spellings an engine gets: measured on this machine, part by part, each variant checked against the model."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import onnx
from numpy.typing import NDArray

from segdino_deploy.engines.lowering import LOWERINGS
from segdino_deploy.errors import CheckFailed, InputError, one_line
from segdino_deploy.evidence import relative_error
from segdino_deploy.export.graph import logits_of_heads, with_logits
from segdino_deploy.manifest import LoweringRecord
from segdino_deploy.progress import OnStep, ignore
from segdino_deploy.timing import interleave, median_ratio

AUTO, NONE = "auto", "none"
AS_EXPORTED = "as exported"
SECONDS_PER_PART = 4.0
ROUNDS = (3, 9)  # at least, at most
WORTH = 1.02  # times faster, below which the model is left as it was exported

Outputs = dict[str, NDArray[np.generic]]
Run = Callable[[], Outputs]  # runs the canary once
Open = Callable[[onnx.ModelProto], Run]  # loads a model into the backend; raises whatever the backend raises


def parse_lowering(text: str) -> tuple[str, ...]:
    """`auto`, `none` or names separated by commas. InputError names the ones that exist."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if names in ((AUTO,), (NONE,)):
        return names
    for name in names:
        if name not in LOWERINGS:
            raise InputError(f"--lowering: {name!r} is none of {AUTO}, {NONE}, {', '.join(LOWERINGS)}")
    parts = [LOWERINGS[name].part for name in names]
    for part in parts:
        if parts.count(part) > 1:
            clash = ", ".join(name for name in names if LOWERINGS[name].part == part)
            raise InputError(f"--lowering: {clash} spell the same part of the graph ({part}): name one of them")
    return names


def lower(
    model: onnx.ModelProto,
    backend: str,
    names: Sequence[str],
    open_model: Open | None,
    tolerance: float,
    on_step: OnStep = ignore,
) -> tuple[onnx.ModelProto, list[LoweringRecord]]:
    """The model as `names` (of `parse_lowering`) ask, and the record of it.

    `open_model` None: the backend cannot run here, so that nothing can be measured and `auto` changes nothing.
    """
    if tuple(names) == (NONE,) or (tuple(names) == (AUTO,) and open_model is None):
        return model, []
    if tuple(names) == (AUTO,):
        assert open_model is not None
        return choose_lowerings(model, backend, open_model, tolerance, on_step)
    return apply_lowerings(model, backend, names)


def apply_lowerings(
    model: onnx.ModelProto, backend: str, names: Sequence[str]
) -> tuple[onnx.ModelProto, list[LoweringRecord]]:
    """The model with the named spellings. InputError where one is not for this backend or finds nothing to rewrite."""
    records = []
    for name in names:
        if backend not in LOWERINGS[name].backends:
            raise InputError(f"--lowering: {name} is not for {backend}")
        lowered = LOWERINGS[name].rewrite(model)
        if lowered is None:
            raise InputError(f"--lowering: {name} finds nothing to rewrite in this model")
        model = lowered
        records.append(LoweringRecord(part=LOWERINGS[name].part, chosen=name))
    return model, records


def choose_lowerings(
    model: onnx.ModelProto, backend: str, open_model: Open, tolerance: float, on_step: OnStep = ignore
) -> tuple[onnx.ModelProto, list[LoweringRecord]]:
    """The fastest spelling of every part, by interleaved runs of the canary, and what was measured.

    A variant that the backend refuses, or whose logits differ by more than `tolerance` (relative), is left out and
    recorded with the reason.
    """
    records = []
    parts = dict.fromkeys(entry.part for entry in LOWERINGS.values() if backend in entry.backends)
    for part in parts:
        variants = [entry for entry in LOWERINGS.values() if entry.part == part and backend in entry.backends]
        rewritten = {entry.name: new for entry in variants if (new := entry.rewrite(model)) is not None}
        if not rewritten:
            continue
        on_step(f"measuring spellings of {part}")
        model, record = _choose_part(part, model, rewritten, open_model, tolerance)
        records.append(record)
    return model, records


def _choose_part(
    part: str, model: onnx.ModelProto, variants: dict[str, onnx.ModelProto], open_model: Open, tolerance: float
) -> tuple[onnx.ModelProto, LoweringRecord]:
    runs = {AS_EXPORTED: open_model(with_logits(model))}
    expected = runs[AS_EXPORTED]()
    refused: dict[str, str] = {}
    for name, variant in variants.items():
        try:
            run = open_model(with_logits(variant))
            _check(model, expected, run(), tolerance)
        except Exception as error:  # backends' exceptions share no base; the reason is kept
            refused[name] = one_line(error)
            continue
        runs[name] = run
    samples = interleave(
        {name: partial(_ignoring_round, run) for name, run in runs.items()},
        ROUNDS[1],
        warmup=1,
        at_least=ROUNDS[0],
        seconds=SECONDS_PER_PART,
    )
    faster = {name: _times_faster(samples[AS_EXPORTED], times) for name, times in samples.items()}
    best = max(faster, key=faster.__getitem__)
    if faster[best] < WORTH:
        best = AS_EXPORTED
    record = LoweringRecord(
        part=part,
        chosen=best,
        median_ms={name: round(statistics.median(times), 3) for name, times in samples.items()},
        times_faster=round(faster[best], 3),
        refused=refused,
    )
    return variants.get(best, model), record


def _times_faster(base_ms: Sequence[float], variant_ms: Sequence[float]) -> float:
    """By the median over the rounds and by the best round, whichever says less: a busy machine moves only one."""
    return min(median_ratio(base_ms, variant_ms), min(base_ms) / min(variant_ms))


def _ignoring_round(run: Run, _round: int) -> Outputs:
    return run()


def _check(model: onnx.ModelProto, expected: Outputs, found: Outputs, tolerance: float) -> None:
    for name in logits_of_heads(model):
        error = relative_error(np.asarray(expected[name], np.float32), np.asarray(found[name], np.float32))
        if not error <= tolerance:
            raise CheckFailed(f"{name} differ by {error:.1e}, allowed {tolerance:.0e}")
