"""What is stored of a GPU: one file for each, that grows case by case."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from segdino_deploy.benchmarks.gpu.suite import ExportName, RuntimeName
from segdino_deploy.benchmarks.latency.summary import Latency
from segdino_deploy.manifest import Precision

SCHEMA_VERSION = 1

# missing: not installed; failed: refused by the GPU or the library, or not built; memory: too little of it; check: its
# answer to the canary is wrong; crash: the process ended.
RefusalKind = Literal["missing", "failed", "memory", "check", "crash"]
MISSING: RefusalKind = "missing"


class Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Measured(Entry):
    """One contestant that ran. Ratios are medians over the rounds of its group; None: the baseline was not in it."""

    name: str
    runtime: RuntimeName
    precision: Precision
    export: ExportName
    # of one run of the whole batch, not divided by it:
    device: Latency  # on the GPU alone: image there already, from the first kernel to the last
    host: Latency  # from arrays in host memory to arrays in host memory, copies included
    times_faster: float | None  # than the baseline, device
    host_times_faster: float | None
    relative_error: float  # of the logits for the canary, against PyTorch eager fp32
    mask_agreement: float  # share of the canary's pixels with the same class, 0 to 1
    prepare_seconds: float  # from the typed model to the first answers: build, compilation; of int8 calibration too
    engine_mib: float | None  # of the file that it runs; None: PyTorch runs none
    notes: list[str] = []


class Group(Entry):
    """Contestants that fitted into memory together and were measured in interleaved rounds."""

    tool_version: str
    versions: dict[str, str]  # of the libraries, and of CUDA
    baseline: str | None  # the contestant that ratios refer to
    rounds: int
    warmup: int
    contestants: list[Measured]


class Refusal(Entry):
    """A contestant that did not run, with its reason in one line."""

    name: str
    kind: RefusalKind
    reason: str


class CaseResult(Entry):
    """One model at one batch size: its groups so far, and who did not run."""

    name: str
    family: str
    vit: str
    size: int
    batch: int
    seed: int
    groups: list[Group] = []
    refusals: list[Refusal] = []
    unfinished: dict[str, int] = {}  # by contestant: processes that ended while they prepared or opened it

    def with_refusal(self, refusal: Refusal) -> CaseResult:
        """In the place of an older one of the same contestant, or as the last one."""
        by_name = {**{entry.name: entry for entry in self.refusals}, refusal.name: refusal}
        return self.model_copy(update={"refusals": list(by_name.values())})

    def with_group(self, group: Group) -> CaseResult:
        """Who was measured is refused no more."""
        measured = {contestant.name for contestant in group.contestants}
        refusals = [entry for entry in self.refusals if entry.name not in measured]
        return self.model_copy(update={"groups": [*self.groups, group], "refusals": refusals})

    def with_attempt(self, name: str, change: int) -> CaseResult:
        """Counts an attempt that begins (1), or takes it back when it has ended in one way or another (-1)."""
        counts = {**self.unfinished, name: self.unfinished.get(name, 0) + change}
        return self.model_copy(update={"unfinished": {key: count for key, count in counts.items() if count > 0}})


class Machine(Entry):
    """`kind` cpu: a trial run of the suite without a GPU, whose numbers say nothing."""

    kind: Literal["cuda", "cpu"]
    name: str  # of the GPU
    compute_capability: str
    memory_mib: int
    processor: str


class GpuResult(Entry):
    """One file of `benchmarks/results/gpu`."""

    schema_version: int = SCHEMA_VERSION
    machine: Machine
    cases: list[CaseResult] = []

    def case(self, name: str) -> CaseResult | None:
        return next((case for case in self.cases if case.name == name), None)

    def with_case(self, case: CaseResult) -> GpuResult:
        """In its place, or as the last one."""
        if self.case(case.name) is None:
            return self.model_copy(update={"cases": [*self.cases, case]})
        return self.model_copy(update={"cases": [case if c.name == case.name else c for c in self.cases]})
