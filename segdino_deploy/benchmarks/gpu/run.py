"""The suite: case after case, each continued from what is stored."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from segdino_deploy.benchmarks.gpu.case import CaseRun
from segdino_deploy.benchmarks.gpu.contestants import CaseMakers
from segdino_deploy.benchmarks.gpu.device import Device
from segdino_deploy.benchmarks.gpu.plan import Case, Spec, cases_of, deadlines, pending, specs_of
from segdino_deploy.benchmarks.gpu.progress import Progress
from segdino_deploy.benchmarks.gpu.result import CaseResult
from segdino_deploy.benchmarks.gpu.rounds import RoundOptions
from segdino_deploy.benchmarks.gpu.store import Store
from segdino_deploy.benchmarks.gpu.suite import Suite
from segdino_deploy.errors import InputError


def run_suite(
    suite: Suite,
    device: Device,
    output: Path,
    write: Callable[[str], None],
    only: str | None = None,
    limit_seconds: float | None = None,
) -> Path:
    """The result file. `limit_seconds`: nothing is begun after them; a step that has begun is finished.

    Raises InputError: `only` is no case, the stored results are of another GPU, version or seed.
    """
    began = time.monotonic()
    end = math.inf if limit_seconds is None else began + limit_seconds
    specs = specs_of(suite)
    store = Store(output, device.machine)
    results = {case: stored_or_new(case, store) for case in cases_of(suite, only)}
    progress = Progress(write)
    progress.expect(sum(2 * len(pending(specs, result)) for result in results.values()))
    for case, result in results.items():
        if pending(specs, result) and time.monotonic() < end:
            run_case(case, result, specs, suite, device, store, progress, end)
    write(summary(specs, list(results), store))
    return store.path


def run_case(
    case: Case,
    result: CaseResult,
    specs: list[Spec],
    suite: Suite,
    device: Device,
    store: Store,
    progress: Progress,
    end: float,
) -> None:
    """`end`: of the whole run, by `time.monotonic`."""
    options = RoundOptions(suite.rounds, suite.min_rounds, suite.warmup, suite.seconds)
    with tempfile.TemporaryDirectory() as directory:
        makers = CaseMakers(case, device, Path(directory), suite.compile_mode)
        until = deadlines(time.monotonic(), end)
        CaseRun(result, makers, options, until, device.versions(), store.save, progress).run(specs)


def stored_or_new(case: Case, store: Store) -> CaseResult:
    """InputError where the stored one is of other weights."""
    stored = store.result.case(case.name)
    if stored is None:
        return CaseResult(
            name=case.name, family=case.family, vit=case.vit, size=case.size, batch=case.batch, seed=case.seed
        )
    if stored.seed != case.seed:
        raise InputError(f"{store.path}: {case.name} was measured with seed {stored.seed}; name another -o")
    return stored


def summary(specs: list[Spec], cases: list[Case], store: Store) -> str:
    """The last line: how much is done, and what to do about the rest."""
    stored = [store.result.case(case.name) for case in cases]
    names = {spec.name for spec in specs}
    refusals = [r for result in stored if result for r in result.refusals if r.name in names]
    left = sum(len(pending(specs, result)) for result in stored) - sum(r.kind == "missing" for r in refusals)
    total = len(specs) * len(cases)
    text = f"{store.path}: {total - left - len(refusals)} of {total} contestants measured, {len(refusals)} refused"
    return f"{text}, {left} left: run it again to go on" if left else text
