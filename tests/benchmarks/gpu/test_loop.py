"""The whole suite on the stand-in: real models, exports, engines and runtimes that need no GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from segdino_deploy.benchmarks.gpu.__main__ import main
from segdino_deploy.benchmarks.gpu.result import CaseResult
from segdino_deploy.benchmarks.gpu.store import read_result
from segdino_deploy.gpu import has_gpu
from segdino_deploy.requirements import has_module

SUITE = """
families = ["v1_convt"]
vits = ["tiny"]
batches = [2]
size = 32
precisions = [{precisions}]
runtimes = [{runtimes}]
exports = [{exports}]
rounds = 3
min_rounds = 2
warmup = 1
seed = {seed}
"""
RUNTIMES = ("tensorrt", "tensorrt-rtx", "onnxruntime", "onnxruntime-graph", "torch-eager")
BASELINE = "torch-eager-fp32-plain"


def _quoted(values: tuple[str, ...]) -> str:
    return ", ".join(f'"{value}"' for value in values)


class Loop:
    """Runs of one folder, by the command line."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.suite = directory / "suite.toml"

    def run(
        self,
        runtimes: tuple[str, ...] = RUNTIMES,
        precisions: tuple[str, ...] = ("fp32",),
        exports: tuple[str, ...] = ("folded", "plain"),
        seed: int = 0,
        more: tuple[str, ...] = (),
    ) -> int:
        self.suite.write_text(
            SUITE.format(
                runtimes=_quoted(runtimes), precisions=_quoted(precisions), exports=_quoted(exports), seed=seed
            )
        )
        return main([str(self.suite), "-o", str(self.directory / "results"), "--device", "cpu", *more])

    @property
    def file(self) -> Path:
        (path,) = (self.directory / "results").iterdir()
        return path

    @property
    def case(self) -> CaseResult:
        (case,) = read_result(self.file).cases
        return case


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    loop = Loop(tmp_path_factory.mktemp("loop"))
    assert loop.run() == 0
    return loop


@pytest.fixture
def copy(loop: Loop, tmp_path: Path) -> Callable[[], Loop]:
    """The same results in another folder, free to be changed."""

    def get() -> Loop:
        other = Loop(tmp_path)
        (tmp_path / "results").mkdir()
        (tmp_path / "results" / loop.file.name).write_bytes(loop.file.read_bytes())
        return other

    return get


def test_who_runs_here_is_measured_and_right(loop: Loop) -> None:
    (group,) = loop.case.groups
    names = [entry.name for entry in group.contestants]

    assert names[0] == group.baseline == BASELINE
    assert set(names) == {f"{r}-fp32-{e}" for r in ("torch-eager", "onnxruntime") for e in ("folded", "plain")}
    for entry in group.contestants:
        assert len(entry.device.samples_ms) == len(entry.host.samples_ms) == group.rounds == 3
        assert min(entry.device.samples_ms + entry.host.samples_ms) > 0
        assert 0 <= entry.relative_error < 1e-4
        assert entry.mask_agreement > 0.999
        assert (entry.engine_mib is None) == entry.name.startswith("torch")
    assert group.contestants[0].times_faster == 1.0
    assert "torch" in group.versions and "onnxruntime" in group.versions
    assert loop.case.unfinished == {}


def test_who_does_not_run_here_is_refused_with_the_reason(loop: Loop) -> None:
    refusals = {entry.name: (entry.kind, entry.reason) for entry in loop.case.refusals}

    assert refusals["onnxruntime-graph-fp32-folded"] == ("missing", "onnxruntime: CUDA graphs need a GPU")
    if not has_module("tensorrt"):
        kind, reason = refusals["tensorrt-fp32-plain"]
        assert kind == "missing" and "pip install 'segdino-deploy[tensorrt]'" in reason
    if has_module("tensorrt_rtx") and not has_gpu():  # built here, but there is nothing to run it
        for export in ("folded", "plain"):
            kind, reason = refusals[f"tensorrt-rtx-fp32-{export}"]
            assert kind == "failed" and "no usable NVIDIA GPU here" in reason
    assert all("\n" not in reason for _, reason in refusals.values())


def test_a_second_run_measures_nothing_again(copy: Callable[[], Loop], capsys: pytest.CaptureFixture[str]) -> None:
    loop = copy()
    before = loop.case

    assert loop.run() == 0

    assert loop.case == before
    lines = capsys.readouterr().err.splitlines()
    assert not [line for line in lines if "preparing" in line or "measuring" in line]
    assert "4 of 10 contestants measured, 6 refused" in lines[-1]


def test_a_larger_suite_measures_the_rest_beside_the_baseline(copy: Callable[[], Loop]) -> None:
    loop = copy()
    before = loop.case

    assert loop.run(("torch-eager",), ("fp32", "bf16"), ("plain",)) == 0

    assert loop.case.groups[0] == before.groups[0]
    assert [entry.name for entry in loop.case.groups[1].contestants] == [BASELINE, "torch-eager-bf16-plain"]
    assert loop.case.refusals == before.refusals
    assert loop.case.groups[1].contestants[1].relative_error > 1e-5


def test_a_limit_that_has_passed_begins_nothing_and_says_what_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = Loop(tmp_path)

    assert loop.run(("torch-eager",), exports=("plain",), more=("--limit-seconds", "0")) == 0

    assert "0 of 1 contestants measured, 0 refused, 1 left: run it again to go on" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "was measured with seed 0; name another -o"),
        ({"more": ("--only", "v2-vit-tiny-32-batch2")}, "--only: v2-vit-tiny-32-batch2 is none of v1_convt-vit-tiny"),
    ],
)
def test_what_does_not_fit_is_one_line(
    copy: Callable[[], Loop], capsys: pytest.CaptureFixture[str], changes: dict[str, object], message: str
) -> None:
    loop = copy()

    assert loop.run(**changes) == 2  # type: ignore[arg-type]

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line


def test_a_trial_run_needs_a_place_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--device", "cpu"]) == 2
    assert "name a place for them with -o" in capsys.readouterr().err
