"""Start-up and memory in processes of their own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segdino_deploy.benchmarks import contestants, process
from segdino_deploy.benchmarks.process import Start, measure_process, peak_memory_mib
from segdino_deploy.errors import InputError, SegdinoDeployError
from tests.conftest import GOLDEN

Exported = Callable[[str], Path]


@pytest.mark.parametrize(("contestant", "references"), [("model.onnx", []), ("torch-fp32", ["v1_convt.pth"])])
def test_a_new_process_tells_its_start_and_its_peak(
    contestant: str, references: list[str], exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [process.time.monotonic()]
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: (run(*a, **k), clock.append(process.time.monotonic()))[0])

    report = measure_process(exported("v1_convt"), contestant, [GOLDEN / name for name in references], repeats=2)

    assert len(report.starts) == len(report.start_up.samples_s) == 2
    for start, began, ended in zip(report.starts, clock, clock[1:], strict=False):
        assert min(start.imports_s, start.open_s, start.first_mask_s) > 0
        assert start.total_s < ended - began
        assert 20 < start.peak_host_mib < 4000  # Python with numpy is more than 20
        assert start.device_mib is None
    assert report.device_mib is None


def test_the_reference_takes_more_memory_than_the_same_model_without_pytorch(exported: Exported) -> None:
    path = exported("v1_convt")

    assert peak_memory_mib(path, "model.onnx") < peak_memory_mib(path, "torch-fp32", [GOLDEN / "v1_convt.pth"])


def test_medians_are_of_each_number_and_all_starts_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [
        Start(imports_s=1, open_s=9, first_mask_s=1, peak_host_mib=100, device_mib=30),
        Start(imports_s=2, open_s=1, first_mask_s=2, peak_host_mib=300, device_mib=None),
        Start(imports_s=3, open_s=2, first_mask_s=1, peak_host_mib=200, device_mib=50),
    ]
    waiting = iter(told)
    monkeypatch.setattr(process, "_start", lambda *_: next(waiting))

    report = measure_process(Path("x"), "openvino-fp32")

    assert report.starts == tuple(told)
    start_up = report.start_up
    assert (start_up.imports_s, start_up.open_s, start_up.first_mask_s) == (2, 2, 1)
    assert start_up.samples_s == [11, 5, 6]
    assert start_up.total_s == 6  # of the totals, not the sum of medians, which is 5
    assert (report.peak_host_mib, report.device_mib) == (200, 40)


@pytest.mark.parametrize("threads", [None, 1, 3])
def test_the_process_uses_the_threads_that_the_run_has(
    threads: int | None, exported: Exported, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[int | None] = []
    opened = contestants.open_contestant

    def open_contestant(*arguments: Any) -> Any:
        seen.append(arguments[4])
        return opened(*arguments)

    def run_here(command: list[str], **_: object) -> Any:
        process.main(command[3:])  # behind `python -m` and the module
        return subprocess.CompletedProcess(command, 0, capsys.readouterr().out, "")

    monkeypatch.setattr(contestants, "open_contestant", open_contestant)
    monkeypatch.setattr(subprocess, "run", run_here)

    measure_process(exported("v1_convt"), "model.onnx", repeats=1, threads=threads)

    assert seen == [threads]


def done(returncode: int, stdout: str = "", stderr: str = "") -> Callable[..., Any]:
    return lambda *_, **__: subprocess.CompletedProcess([], returncode, stdout, stderr)


def test_what_libraries_print_is_no_part_of_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"imports_s": 1, "open_s": 2, "first_mask_s": 3, "peak_host_mib": 4, "device_mib": 5.5}
    monkeypatch.setattr(subprocess, "run", done(0, f"[I] a library\n{json.dumps(said)}\n"))

    assert measure_process(Path("x"), "e", repeats=1).device_mib == 5.5


def test_a_process_that_is_killed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", done(-9))

    with pytest.raises(
        SegdinoDeployError, match=r"^opening e in a new process failed: it ended with status -9 and said nothing$"
    ):
        measure_process(Path("x"), "e")


def test_the_processs_own_error_is_told_in_one_line(exported: Exported) -> None:
    with pytest.raises(SegdinoDeployError) as caught:
        measure_process(exported("v1_convt"), "openvino-fp16")

    assert str(caught.value) == (
        f"opening openvino-fp16 in a new process failed: {exported('v1_convt')}: no engine is called openvino-fp16 "
        "(has: none)"
    )


def test_no_process_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="0 new processes; at least 1"):
        measure_process(Path("x"), "e", repeats=0)
