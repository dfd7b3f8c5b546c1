"""One case, from what is to be done to groups and refusals. Nothing that a contestant does ends the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from segdino_deploy import __version__
from segdino_deploy.benchmarks.gpu.check import Answer, compare, is_out_of_memory, kind_of, reason_of
from segdino_deploy.benchmarks.gpu.contestants import Makers, Open
from segdino_deploy.benchmarks.gpu.contestants.contract import Contestant, Outputs
from segdino_deploy.benchmarks.gpu.plan import BASELINE, MAX_ATTEMPTS, Deadlines, Spec, given_up, pending
from segdino_deploy.benchmarks.gpu.progress import Progress
from segdino_deploy.benchmarks.gpu.result import MISSING, CaseResult, Group, Measured, Refusal, RefusalKind
from segdino_deploy.benchmarks.gpu.rounds import RoundOptions, Samples, run_rounds
from segdino_deploy.benchmarks.gpu.statistics import times_faster
from segdino_deploy.benchmarks.latency.summary import summarise
from segdino_deploy.errors import MissingComponent, SegdinoDeployError

SUDDEN_END = f"{MAX_ATTEMPTS} processes ended while they prepared or opened it: a crash, or a kill for taking too long"


@dataclass(frozen=True)
class Ready:
    """Prepared: its files are there."""

    spec: Spec
    open: Open
    seconds: float


@dataclass(frozen=True)
class Opened:
    """Ran the canary, rightly."""

    spec: Spec
    contestant: Contestant
    answer: Answer
    seconds: float  # since nothing of it was there


class CaseRun:
    """`save` is called with the case as it is after every change worth keeping. `deadlines`: by `now`'s clock."""

    def __init__(
        self,
        result: CaseResult,
        makers: Makers,
        options: RoundOptions,
        deadlines: Deadlines,
        versions: dict[str, str],
        save: Callable[[CaseResult], None],
        progress: Progress,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.result = result
        self._makers = makers
        self._options = options
        self._deadlines = deadlines
        self._versions = versions
        self._save = save
        self._progress = progress
        self._now = now
        self._baseline: Ready | None = None
        self._told: set[str] = set()  # reasons

    def run(self, specs: Sequence[Spec]) -> CaseResult:
        """Prepares everybody first, while nobody else uses the device, then measures as many together as fit into it.

        What there is no time for stays to be done.
        """
        for spec in given_up(pending(specs, self.result), self.result):
            self._refuse(spec, "crash", SUDDEN_END)
            self._progress.advance(2)
        todo = pending(specs, self.result)
        waiting = self._prepare_all(todo)
        is_new = BASELINE in (entry.spec for entry in waiting)
        if is_new:
            self._baseline = waiting.pop(0)
        elif waiting and BASELINE in specs and self._is_measured(BASELINE):
            self._baseline = self._prepare(BASELINE)
        while (waiting or is_new) and self._now() < self._deadlines.open:
            opened: list[Opened] = []
            try:
                self._open_group(waiting, opened)
                self._measure(opened)
            finally:
                for entry in opened:
                    _close(entry.contestant)
                with suppress(Exception):  # of a device that has failed
                    self._makers.release()
            is_new = False
        return self.result

    def _prepare_all(self, todo: Sequence[Spec]) -> list[Ready]:
        """In the same order, without those that are refused and those that there is no time for."""
        ready = []
        for spec in todo:
            if self._now() >= self._deadlines.prepare:
                break
            try:
                self._makers.check(spec)
            except MissingComponent as error:
                self._refuse(spec, MISSING, reason_of(error))
                self._progress.expect(-2)
                continue
            prepared = self._prepare(spec)
            self._progress.advance(2 if prepared is None else 1)
            if prepared is not None:
                ready.append(prepared)
        return ready

    def _prepare(self, spec: Spec) -> Ready | None:
        """None where it is refused."""
        self._say(f"preparing {spec.name}")
        try:
            with self._attempt(spec):
                self._makers.provide(spec)
                started = self._now()
                return Ready(spec, self._makers.prepare(spec), self._now() - started)
        except Exception as error:  # of any library
            self._refuse(spec, kind_of(error), reason_of(error))
            return None

    def _open_group(self, waiting: list[Ready], opened: list[Opened]) -> None:
        """The baseline, then as many as fit into memory with it. Takes from `waiting` who was opened or refused."""
        if self._baseline is not None:
            try:
                opened.append(self._open(self._baseline))
            except Exception as error:
                self._refuse(BASELINE, kind_of(error), reason_of(error))
                self._baseline = None
        while waiting and self._now() < self._deadlines.open:
            try:
                opened.append(self._open(waiting[0]))
            except Exception as error:
                is_full = is_out_of_memory(error) and any(entry.spec != BASELINE for entry in opened)
                if not is_full:
                    self._refuse(waiting[0].spec, kind_of(error), reason_of(error))
                    self._progress.advance()
            else:
                is_full = False
            if is_full:
                with suppress(Exception):
                    self._makers.trim()
                return
            waiting.pop(0)

    def _open(self, ready: Ready) -> Opened:
        """Raises what its library raises, or CheckFailed; nothing is kept then."""
        self._say(f"opening {ready.spec.name}")
        started = self._now()
        with self._attempt(ready.spec):
            contestant = ready.open()
            try:
                contestant.settle()
                self._compare(ready.spec, contestant.device_answer())
                answer = self._compare(ready.spec, contestant.run(self._makers.canary.image))
            except BaseException:
                _close(contestant)
                raise
        return Opened(ready.spec, contestant, answer, ready.seconds + self._now() - started)

    def _compare(self, spec: Spec, outputs: Outputs) -> Answer:
        return compare(self._makers.canary, outputs, self._makers.thresholds, spec.precision)

    def _measure(self, opened: Sequence[Opened]) -> None:
        """Nothing to do where there is only a baseline that was measured before."""
        if all(self._is_measured(entry.spec) for entry in opened):
            return
        self._say(f"measuring {len(opened)} contestants")
        entries = {entry.spec.name: entry for entry in opened}
        rounds = run_rounds(
            {name: entry.contestant for name, entry in entries.items()},
            self._makers.canary.image,
            self._options,
            self._deadlines.measure,
            lambda done, total: self._progress.count(f"{self.result.name}: measuring", done, total),
            self._now,
        )
        self._progress.advance(sum(not self._is_measured(entry.spec) for entry in opened))
        samples = dict(rounds.samples)
        for name, error in rounds.failures.items():  # the first one to fail comes first
            self._refuse(entries[name].spec, kind_of(error), f"after it was opened: {reason_of(error)}")
        for name in list(samples):  # CUDA graphs run on memory that others may have written to
            try:
                self._compare(entries[name].spec, entries[name].contestant.device_answer())
            except Exception as error:
                del samples[name]
                self._refuse(entries[name].spec, kind_of(error), f"after the rounds: {reason_of(error)}")
        if samples:
            self._store(entries, samples)

    def _store(self, entries: Mapping[str, Opened], samples: Mapping[str, Samples]) -> None:
        baseline = samples.get(BASELINE.name)
        contestants = [describe(entries[name], measured, baseline) for name, measured in samples.items()]
        group = Group(
            tool_version=__version__,
            versions=self._versions,
            baseline=None if baseline is None else BASELINE.name,
            rounds=len(contestants[0].device.samples_ms),
            warmup=self._options.warmup,
            contestants=contestants,
        )
        self._keep(self.result.with_group(group))

    def _is_measured(self, spec: Spec) -> bool:
        return any(spec.name == entry.name for group in self.result.groups for entry in group.contestants)

    def _refuse(self, spec: Spec, kind: RefusalKind, reason: str) -> None:
        """SegdinoDeployError where the device has failed with it: then nobody else is to blame, nor can go on."""
        if reason not in self._told:
            self._say(f"{spec.name} does not run: {reason}")
        self._told.add(reason)
        if not self._is_measured(spec):  # a baseline that ran in another group stays
            self._keep(self.result.with_refusal(Refusal(name=spec.name, kind=kind, reason=reason)))
        if kind in ("failed", "memory") and not self._makers.works():
            raise SegdinoDeployError(
                f"the GPU answers no more after {spec.name} ({reason}); run the suite again: it goes on with the others"
            )

    @contextmanager
    def _attempt(self, spec: Spec) -> Iterator[None]:
        """Leaves a mark where the process ends in the middle of it."""
        self._keep(self.result.with_attempt(spec.name, 1))
        try:
            yield
        finally:
            self._keep(self.result.with_attempt(spec.name, -1))

    def _keep(self, result: CaseResult) -> None:
        self.result = result
        self._save(result)

    def _say(self, text: str) -> None:
        self._progress.say(f"{self.result.name}: {text}")


def describe(opened: Opened, samples: Samples, baseline: Samples | None) -> Measured:
    """What is stored of a contestant; `baseline`: of the same rounds."""
    device, host = summarise(samples.device_ms, 1), summarise(samples.host_ms, 1)
    engine_mib = opened.contestant.engine_mib
    return Measured(
        name=opened.spec.name,
        runtime=opened.spec.runtime,
        precision=opened.spec.precision,
        export=opened.spec.export,
        device=device,
        host=host,
        times_faster=times_faster(None if baseline is None else baseline.device_ms, samples.device_ms),
        host_times_faster=times_faster(None if baseline is None else baseline.host_ms, samples.host_ms),
        relative_error=opened.answer.relative_error,
        mask_agreement=opened.answer.mask_agreement,
        prepare_seconds=round(opened.seconds, 2),
        engine_mib=None if engine_mib is None else round(engine_mib, 2),
        notes=opened.contestant.notes,
    )


def _close(contestant: Contestant) -> None:
    with suppress(Exception):  # of a device that has failed: there is nothing else to be done
        contestant.close()
