"""The file of a GPU: its name, going on with it, refusing another's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segdino_deploy.benchmarks.gpu.plan import BASELINE
from segdino_deploy.benchmarks.gpu.progress import Progress, time_left
from segdino_deploy.benchmarks.gpu.result import GpuResult, Machine, Refusal
from segdino_deploy.benchmarks.gpu.store import Store, file_name, read_result
from segdino_deploy.errors import InputError
from tests.benchmarks.gpu.fakes import EMPTY, FakeMakers, run_case

MACHINE = Machine(kind="cuda", name="NVIDIA H200", compute_capability="9.0", memory_mib=143771, processor="a CPU")


@pytest.mark.parametrize(
    ("gpu", "name"),
    [
        ("NVIDIA H200", "nvidia-h200.json"),
        ("NVIDIA GeForce RTX 4090", "nvidia-geforce-rtx-4090.json"),
        ("Orin (nvgpu)", "orin-nvgpu.json"),
    ],
)
def test_files_are_named_after_the_gpu(gpu: str, name: str) -> None:
    assert file_name(gpu) == name


def test_what_is_saved_is_read_again_sample_by_sample(tmp_path: Path) -> None:
    case = run_case(FakeMakers(), [BASELINE]).with_refusal(Refusal(name="x", kind="failed", reason="why"))
    other = case.model_copy(update={"name": "other"})

    for saved in (EMPTY, other, case):  # the first one grows, in its place
        Store(tmp_path, MACHINE).save(saved)

    assert Store(tmp_path, MACHINE).result == GpuResult(machine=MACHINE, cases=[case, other])
    assert [path.name for path in tmp_path.iterdir()] == ["nvidia-h200.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no result of the GPU suite"),
        ("[]", "no result of the GPU suite"),
        ('{"schema_version": 1}', "no result of the GPU suite"),
        ('{"schema_version": 99}', r"a newer segdino-deploy \(schema 99\); move it"),
    ],
)
def test_a_file_that_is_no_result_is_left_alone(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "nvidia-h200.json"
    path.write_text(content)

    with pytest.raises(InputError, match=message):
        Store(tmp_path, MACHINE)

    assert path.read_text() == content


def test_another_gpus_file_is_not_continued(tmp_path: Path) -> None:
    Store(tmp_path, MACHINE).save(EMPTY)
    same_file = MACHINE.model_copy(update={"name": "nvidia h200"})

    with pytest.raises(InputError, match="is of NVIDIA H200, this machine has nvidia h200; name another -o"):
        Store(tmp_path, same_file)


def test_unknown_keys_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path, MACHINE)
    store.save(EMPTY)
    content = json.loads(store.path.read_text())
    store.path.write_text(json.dumps({**content, "speed": 1}))

    with pytest.raises(InputError, match="no result"):
        read_result(store.path)


def test_who_is_measured_is_refused_no_more() -> None:
    refused = EMPTY.with_refusal(Refusal(name=BASELINE.name, kind="missing", reason="not installed"))

    assert (
        refused.with_refusal(Refusal(name=BASELINE.name, kind="missing", reason="still")).refusals[0].reason == "still"
    )
    assert run_case(FakeMakers(), [BASELINE], refused).refusals == []


def test_time_left_goes_by_the_steps_that_are_done() -> None:
    """Two of eight in 60 seconds: six more take 180."""
    assert time_left(60, 2, 8) == "about 3 min left"
    assert time_left(10, 2, 8) == "about 30 s left"
    assert time_left(60, 0, 8) == ""
    assert time_left(60, 8, 8) == ""


def test_progress_says_how_far_it_is_and_counts_rounds_sparingly() -> None:
    seconds = [0.0]
    lines: list[str] = []
    progress = Progress(lines.append, lambda: seconds[0])
    progress.expect(4)

    progress.say("preparing")
    seconds[0] = 5.0
    progress.advance()
    progress.count("measuring", 1, 9)
    seconds[0] = 20.0
    progress.count("measuring", 2, 9)
    progress.count("measuring", 3, 9)

    assert lines == ["[0/4] preparing", "[1/4, about 60 s left] measuring, round 2 of 9"]
