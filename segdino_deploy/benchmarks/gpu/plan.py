"""Which cases there are, who takes part in them, and what a run has still to do. Pure: no file, no GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from segdino_deploy.benchmarks.gpu.result import MISSING, CaseResult
from segdino_deploy.benchmarks.gpu.suite import ExportName, RuntimeName, Suite
from segdino_deploy.errors import InputError
from segdino_deploy.manifest import PRECISIONS, Precision

# PyTorch has no int8 of its own; ONNX Runtime's CUDA provider computes Q/DQ in float.
FLOATS: tuple[Precision, ...] = ("fp32", "fp16", "bf16")
PRECISIONS_OF: Mapping[RuntimeName, tuple[Precision, ...]] = {
    "torch-eager": FLOATS,
    "torch-compile": FLOATS,
    "onnxruntime": FLOATS,
    "onnxruntime-graph": FLOATS,
    "tensorrt": PRECISIONS,
    "tensorrt-rtx": PRECISIONS,
}
MAX_ATTEMPTS = 2  # after so many processes that ended in the middle of it, a contestant is left out


@dataclass(frozen=True)
class Case:
    """One model at one batch size."""

    family: str
    vit: str
    size: int  # square, pixels
    batch: int
    seed: int

    @property
    def name(self) -> str:
        return f"{self.family}-vit-{self.vit}-{self.size}-batch{self.batch}"


@dataclass(frozen=True)
class Spec:
    """One contestant. The plain export of a PyTorch runtime is the faithful model itself."""

    runtime: RuntimeName
    precision: Precision
    export: ExportName

    @property
    def name(self) -> str:
        return f"{self.runtime}-{self.precision}-{self.export}"


# In every group, so that every group has the same thing to compare with.
BASELINE = Spec("torch-eager", "fp32", "plain")


def cases_of(suite: Suite, only: str | None = None) -> list[Case]:
    """All cases, small batches first: a run that is cut short has the most of them. InputError: `only` is none."""
    cases = [
        Case(family, vit, suite.size, batch, suite.seed)
        for family in suite.families
        for batch in sorted(suite.batches)
        for vit in suite.vits
    ]
    chosen = [case for case in cases if only in (None, case.name)]
    if not chosen:
        raise InputError(f"--only: {only} is none of {', '.join(case.name for case in cases)}")
    return chosen


def specs_of(suite: Suite) -> list[Spec]:
    """All contestants of a case in the order in which they are prepared: the baseline, then as the suite names them."""
    specs = [
        Spec(runtime, precision, export)
        for runtime in suite.runtimes
        for precision in suite.precisions
        if precision in PRECISIONS_OF[runtime]
        for export in suite.exports
    ]
    return sorted(specs, key=lambda spec: spec != BASELINE)  # a stable sort


def pending(specs: Sequence[Spec], result: CaseResult | None) -> list[Spec]:
    """Who is neither measured nor refused. What was not installed then may be now, and is asked for again."""
    if result is None:
        return list(specs)
    done = {contestant.name for group in result.groups for contestant in group.contestants}
    done |= {refusal.name for refusal in result.refusals if refusal.kind != MISSING}
    return [spec for spec in specs if spec.name not in done]


def given_up(specs: Sequence[Spec], result: CaseResult) -> list[Spec]:
    """Of the pending ones those that processes did not survive."""
    return [spec for spec in specs if result.unfinished.get(spec.name, 0) >= MAX_ATTEMPTS]


@dataclass(frozen=True)
class Deadlines:
    """When a case stops to prepare, to open and to measure, in seconds of the same clock."""

    prepare: float
    open: float
    measure: float


# What is prepared but not measured when the time is up is lost: these shares of it leave room for the rest.
PREPARE_SHARE, OPEN_SHARE = 0.6, 0.85


def deadlines(now: float, end: float) -> Deadlines:
    """Of a case that begins now in a run that has time until `end`, which may be infinite."""
    left = end - now
    return Deadlines(now + PREPARE_SHARE * left, now + OPEN_SHARE * left, end)
