"""One case: groups, refusals, going on, limits."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from segdino_deploy.benchmarks.gpu.case import SUDDEN_END
from segdino_deploy.benchmarks.gpu.plan import BASELINE, Deadlines, Spec, pending
from segdino_deploy.benchmarks.gpu.result import CaseResult, Machine
from segdino_deploy.benchmarks.gpu.store import Store
from segdino_deploy.errors import CheckFailed, MissingComponent, SegdinoDeployError
from tests.benchmarks.gpu.fakes import EMPTY, FakeMakers, fail, missing, run_case

A, B, C, D = (Spec("tensorrt", precision, "folded") for precision in ("fp32", "fp16", "bf16", "int8"))
SPECS = [BASELINE, A, B, C, D]


def names(result: CaseResult) -> list[list[str]]:
    return [[entry.name for entry in group.contestants] for group in result.groups]


def refused(result: CaseResult) -> dict[str, tuple[str, str]]:
    return {entry.name: (entry.kind, entry.reason) for entry in result.refusals}


def test_all_that_fit_together_are_one_group_with_ratios_to_the_baseline() -> None:
    makers = FakeMakers(ms={BASELINE.name: 6.0, A.name: 2.0}, offsets={A.name: 1e-5})

    result = run_case(makers, [BASELINE, A])

    (group,) = result.groups
    eager, ours = group.contestants
    assert (group.baseline, group.rounds, group.warmup) == (BASELINE.name, 4, 1)
    assert group.versions == {"torch": "2.13"}
    assert eager.device.samples_ms == [6.0] * 4
    assert ours.host.samples_ms == [4.0] * 4
    assert (eager.times_faster, ours.times_faster, ours.host_times_faster) == (1.0, 3.0, 3.0)
    assert 0 < ours.relative_error < 1e-4
    assert ours.mask_agreement > 0.99
    assert (result.refusals, result.unfinished) == ([], {})
    assert makers.opened == []


def test_who_does_not_fit_is_measured_in_another_group_with_the_baseline_again() -> None:
    makers = FakeMakers(room=3)

    result = run_case(makers, SPECS)

    assert names(result) == [[s.name for s in (BASELINE, A, B)], [s.name for s in (BASELINE, C, D)]]
    assert result.refusals == []
    assert makers.log.count("release") == 2
    assert makers.log.index("trim") < makers.log.index("release"), "memory of the one that failed is free in the rounds"


def test_who_does_not_even_fit_alone_is_refused() -> None:
    too_large = fail(RuntimeError("CUDA error: out of memory"))

    result = run_case(FakeMakers(room=3, events={("open", B.name): too_large}), SPECS)

    assert names(result) == [[s.name for s in (BASELINE, A)], [s.name for s in (BASELINE, C, D)]]
    assert refused(result) == {B.name: ("memory", "CUDA error: out of memory")}


@pytest.mark.parametrize(
    ("step", "error", "kind", "reason"),
    [
        ("check", MissingComponent("x is not installed"), "missing", "x is not installed"),
        ("prepare", MissingComponent("built for sm_89"), "failed", "built for sm_89"),
        ("prepare", SegdinoDeployError("cannot build"), "failed", "cannot build"),
        ("prepare", CheckFailed("the engine fails its canary"), "check", "the engine fails its canary"),
        ("prepare", MemoryError("std::bad_alloc"), "memory", "std::bad_alloc"),
        ("open", ValueError("first line\nsecond line"), "failed", "first line"),
        ("run", RuntimeError(), "failed", "RuntimeError"),
        ("after", RuntimeError("gone"), "failed", "after the rounds: gone"),
    ],
)
def test_whatever_fails_is_a_refusal_and_the_others_go_on(step: str, error: Exception, kind: str, reason: str) -> None:
    makers = FakeMakers(events={(step, B.name): fail(error)})

    result = run_case(makers, SPECS)

    assert names(result) == [[s.name for s in (BASELINE, A, C, D)]]
    assert refused(result) == {B.name: (kind, reason)}
    assert result.unfinished == {}
    assert makers.opened == []


def test_who_fails_in_the_rounds_leaves_them() -> None:
    runs = iter(range(100))

    def fail_late() -> None:
        if next(runs) == 8:  # five to settle, one warm-up round, then the third one that counts
            raise RuntimeError("illegal memory access")

    result = run_case(FakeMakers(events={("run", B.name): fail_late}), SPECS)

    assert names(result) == [[s.name for s in (BASELINE, A, C, D)]]
    assert {len(entry.device.samples_ms) for entry in result.groups[0].contestants} == {4}
    assert refused(result) == {B.name: ("failed", "after it was opened: illegal memory access")}


def test_a_wrong_answer_is_a_refusal_that_says_how_wrong() -> None:
    result = run_case(FakeMakers(offsets={A.name: 1.0, B.name: float("nan"), D.name: float("nan")}), SPECS)

    assert names(result) == [[BASELINE.name, C.name]]
    assert {name: kind for name, (kind, _) in refused(result).items()} == dict.fromkeys(
        (A.name, B.name, D.name), "check"
    )
    assert "relative logit error" in refused(result)[A.name][1]
    assert "no numbers" in refused(result)[D.name][1]


def test_int8_may_be_far_from_the_reference_on_the_canary() -> None:
    result = run_case(FakeMakers(offsets={D.name: 5.0}), SPECS)

    assert names(result) == [[spec.name for spec in SPECS]]
    assert result.groups[0].contestants[-1].relative_error > 1


def test_without_a_baseline_there_are_times_but_no_ratios() -> None:
    result = run_case(FakeMakers(events={("check", BASELINE.name): missing("torch")}), [BASELINE, A])

    (group,) = result.groups
    assert group.baseline is None
    assert [(entry.name, entry.times_faster) for entry in group.contestants] == [(A.name, None)]


def test_what_was_missing_joins_later_beside_the_baseline() -> None:
    first = run_case(FakeMakers(events={("check", A.name): missing("tensorrt")}), [BASELINE, A, B])
    makers = FakeMakers()

    second = run_case(makers, [BASELINE, A, B], first)

    assert refused(first) == {A.name: ("missing", "tensorrt is not installed; pip install tensorrt")}
    assert second.groups[0] == first.groups[0]
    assert names(second)[1:] == [[BASELINE.name, A.name]]
    assert second.refusals == []


@pytest.mark.parametrize("events", [{}, {("check", A.name): missing("tensorrt")}])
def test_a_case_with_nothing_left_to_do_opens_nothing(events: dict[tuple[str, str], Callable[[], None]]) -> None:
    first = run_case(FakeMakers(events=events), [BASELINE, A, B])
    makers = FakeMakers(events=events)

    assert run_case(makers, [BASELINE, A, B], first) == first
    assert not [entry for entry in makers.log if entry.startswith(("prepare", "open"))]


def test_a_limit_keeps_what_is_prepared_and_the_next_run_goes_on() -> None:
    clock = [0.0]

    def minute() -> None:
        clock[0] += 60

    makers = FakeMakers(events={("prepare", spec.name): minute for spec in SPECS})

    first = run_case(makers, SPECS, deadlines=Deadlines(150, 300, 300), now=lambda: clock[0])
    second = run_case(FakeMakers(), SPECS, first)

    assert names(first) == [[s.name for s in (BASELINE, A, B)]]  # at 0, 60 and 120 seconds
    assert pending(SPECS, first) == [C, D]
    assert names(second)[1:] == [[s.name for s in (BASELINE, C, D)]]


def test_after_the_limit_nothing_is_opened_and_the_rounds_are_few() -> None:
    clock = [0.0]
    makers = FakeMakers(events={("open", A.name): lambda: clock.__setitem__(0, 500.0)})

    result = run_case(makers, SPECS, deadlines=Deadlines(100, 300, 400), now=lambda: clock[0])

    assert names(result) == [[BASELINE.name, A.name]]
    assert result.groups[0].rounds == 2  # OPTIONS.min_rounds
    assert pending(SPECS, result) == [B, C, D]


def test_a_device_that_fails_for_good_ends_the_run_with_one_culprit() -> None:
    makers = FakeMakers()

    def lose() -> None:
        makers.is_lost = True
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    makers.events = {("open", B.name): lose}
    saved: list[CaseResult] = []

    with pytest.raises(SegdinoDeployError, match="the GPU answers no more after tensorrt-fp16-folded"):
        run_case(makers, SPECS, save=saved.append)

    assert list(refused(saved[-1])) == [B.name]
    assert pending(SPECS, saved[-1]) == [BASELINE, A, C, D]
    assert makers.opened == []


def test_an_interrupted_run_leaves_no_mark() -> None:
    saved: list[CaseResult] = []

    with pytest.raises(KeyboardInterrupt):
        run_case(FakeMakers(events={("open", A.name): fail(KeyboardInterrupt())}), SPECS, save=saved.append)

    assert saved[-1] == EMPTY


MACHINE = Machine(kind="cuda", name="NVIDIA Test", compute_capability="8.9", memory_mib=1, processor="x")
KILLED = """
import os, signal, sys
from pathlib import Path
from segdino_deploy.benchmarks.gpu.store import Store
from tests.benchmarks.gpu.fakes import EMPTY, FakeMakers, run_case
from tests.benchmarks.gpu.test_case import B, MACHINE, SPECS

store = Store(Path(sys.argv[1]), MACHINE)
kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
run_case(FakeMakers(events={("open", B.name): kill}), SPECS, store.result.case("case") or EMPTY, save=store.save)
"""


def test_a_process_that_dies_leaves_a_mark_and_the_second_time_a_refusal(tmp_path: Path) -> None:
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=Path(__file__).parents[3])
        assert done.returncode == -signal.SIGKILL
    store = Store(tmp_path, MACHINE)
    makers = FakeMakers(events={("prepare", B.name): fail(AssertionError("is not to be tried again"))})

    result = run_case(makers, SPECS, store.result.cases[0], save=store.save)

    assert names(result) == [[s.name for s in (BASELINE, A, C, D)]]
    assert refused(result) == {B.name: ("crash", SUDDEN_END)}
    assert [path.name for path in tmp_path.iterdir()] == ["nvidia-test.json"]
