"""segdino_bench, alone and as a contestant of bench: what it measures, and that its masks are those of Python."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segdino_deploy import Bundle, build_engine
from segdino_deploy.benchmarks.bench import run_bench
from segdino_deploy.benchmarks.compare import compare
from segdino_deploy.benchmarks.contestants import open_contestant
from segdino_deploy.benchmarks.differences.pictures import safe_name
from segdino_deploy.benchmarks.latency.summary import Latency
from segdino_deploy.benchmarks.native.program import Program, find_program
from segdino_deploy.benchmarks.native.runner import NativeRunner
from segdino_deploy.benchmarks.options import BenchOptions
from segdino_deploy.benchmarks.process import measure_process
from segdino_deploy.benchmarks.report.save import save_report
from segdino_deploy.benchmarks.result import BenchResult, Environment, Stages, StartUp, Throughput
from segdino_deploy.engines.build import BuildOptions
from segdino_deploy.engines.run import open_engine
from segdino_deploy.errors import InputError, MissingComponent, SegdinoDeployError
from segdino_deploy.export.graph import INPUT
from segdino_deploy.segment import segment_file
from tests.conftest import EXAMPLE
from tests.cpp.building import NativeBuild

ENGINE = "openvino-fp32"
IN_CPP = f"{ENGINE} (C++)"
IMAGES = EXAMPLE / "test" / "image"


@pytest.fixture(scope="module")
def bundle(exported: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """With an engine that the build runs and one that it does not."""
    path = tmp_path_factory.mktemp("bench") / "v1_paper.segdino"
    shutil.copytree(exported("v1_paper"), path)
    build_engine(Bundle.open(path), BuildOptions("fp32", "openvino"))
    build_engine(Bundle.open(path), BuildOptions("fp32", "onnxruntime"))
    return Bundle.open(path)


@pytest.fixture(scope="module")
def program(native_build: NativeBuild) -> Program:
    return find_program(native_build.bin("segdino_bench"))


@pytest.fixture
def native(bundle: Bundle, program: Program) -> Any:
    with NativeRunner(bundle, ENGINE, program, IN_CPP, threads=1) as runner:
        yield runner


def measured(native_build: NativeBuild, *arguments: object) -> dict[str, Any]:
    done = native_build.run("segdino_bench", *arguments, "--engine", ENGINE, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("rounds", [1, 2, 7])
def test_percentiles_are_numpys(rounds: int, native_build: NativeBuild, bundle: Bundle) -> None:
    options = ["--rounds", rounds, "--throughput-seconds", 0, "--starts", 0, "--data", IMAGES]

    result = measured(native_build, bundle.path, *options)

    stages = result["file_to_mask"]
    for latency in (result["engine_only"], result["with_copies"], *stages.values()):
        samples = latency["samples_ms"]
        assert len(samples) == rounds
        told = [latency[f"p{percent}_ms"] for percent in (50, 90, 95, 99)]
        np.testing.assert_allclose(told, np.percentile(samples, [50, 90, 95, 99]), rtol=1e-12)
        assert min(samples) >= 0
    parts = [stages[part]["samples_ms"] for part in ("decode", "resize", "run", "resize_back")]
    np.testing.assert_allclose(np.sum(parts, axis=0), stages["total"]["samples_ms"], rtol=1e-9)


def test_the_json_has_the_fields_of_benchs_own_record(
    native_build: NativeBuild, bundle: Bundle, tmp_path: Path
) -> None:
    options = ["--rounds", 2, "--warmup", 0, "--throughput-seconds", 0.1, "--callers", "1,3", "--starts", 2]
    stored = tmp_path / "bench.json"

    result = measured(native_build, bundle.path, *options, "--data", *sorted(IMAGES.iterdir())[:2], "-o", stored)

    assert json.loads(stored.read_text()) == result
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]
    for field in ("engine_only", "with_copies"):
        Latency.model_validate(result[field])
    Stages.model_validate(result["file_to_mask"])
    start_up = StartUp.model_validate(result["start_up"])
    environment = Environment.model_validate(result["environment"])
    throughput = [Throughput.model_validate(entry) for entry in result["throughput"]]
    assert (result["name"], result["backend"], result["precision"]) == (ENGINE, "openvino", "fp32")
    assert (result["bundle"], result["batch"]) == (bundle.path.name, 1)
    assert environment.versions["segdino (C++)"]
    assert [entry.callers for entry in throughput] == [1, 3]
    assert all(entry.images_per_second > 0 and len(entry.call.samples_ms) >= 2 for entry in throughput)
    assert len(start_up.samples_s) == 2
    assert min(start_up.imports_s, start_up.open_s, start_up.first_mask_s) > 0
    assert 10 < result["peak_host_mib"] < 2000


def test_people_get_a_table(native_build: NativeBuild, bundle: Bundle) -> None:
    options = ["--rounds", 1, "--warmup", 0, "--throughput-seconds", 0.05, "--callers", 1, "--starts", 1]

    done = native_build.run("segdino_bench", bundle.path, "--engine", ENGINE, *options)

    assert done.returncode == 0, done.stderr
    for words in (f"{ENGINE} in C++ on CPU, batch of 1", "engine only", "with copies", "1 caller:", "first mask:"):
        assert words in done.stdout
    assert "file to mask" not in done.stdout  # no images were named


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "no BUNDLE was named; see --help"),
        (["{bundle}", "more"], 2, "only one bundle is measured"),
        (["{bundle}", "--rounds", "0"], 2, "--rounds: '0' is no number from 1 on"),
        (["{bundle}", "--rounds", "1.5"], 2, "--rounds: '1.5' is no whole number"),
        (["{bundle}", "--rounds"], 2, "--rounds: needs a value"),
        (["{bundle}", "--callers", "1,,2"], 2, "--callers: '' is no number from 1 on"),
        (["{bundle}", "--what"], 2, "--what: no such option; see --help"),
        (["{bundle}", "--batch", "2"], 2, "--batch: 2: this model takes 1"),
        (["{bundle}", "--data", "{bundle}/nothing"], 2, "no such file or folder"),
        (["{bundle}", "--data", "{bundle}/engines"], 2, "holds no images"),
        (["{bundle}", "--data", str(EXAMPLE)], 2, "holds masks in mask: name the folder of the images alone"),
        (["{bundle}", "--data", "{bundle}/manifest.json"], 2, "manifest.json: not an image"),
        (["{bundle}", "--engine", "openvino-fp8"], 2, "openvino-fp8"),
        (["{bundle}", "--engine", "onnxruntime-fp32"], 3, "SEGDINO_WITH_ONNXRUNTIME"),
        (["{bundle}/nothing"], 2, "no such bundle"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(
    arguments: list[str], code: int, says: str, native_build: NativeBuild, bundle: Bundle
) -> None:
    done = native_build.run("segdino_bench", *(word.format(bundle=bundle.path) for word in arguments))

    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


def test_the_program_answers_as_the_engine_does_in_python(native: NativeRunner, bundle: Bundle) -> None:
    height, width = bundle.manifest.model.input_size
    image = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    with open_engine(bundle.path, backend="openvino", threads=1) as runner:
        expected = runner.run({INPUT: image})

        outputs = native.run({INPUT: image})
        files = [(path, segment_file(runner, path)[1]) for path in sorted(IMAGES.iterdir())[:3]]

    assert list(outputs) == list(expected)
    for name, array in expected.items():
        assert outputs[name].dtype == array.dtype
        np.testing.assert_array_equal(outputs[name], array)
    for path, masks in files:
        found = native.segment(path)
        assert list(found) == list(masks)
        np.testing.assert_array_equal(found[""], masks[""])


def test_a_turn_needs_batches_and_takes_the_files_in_turns(native: NativeRunner, bundle: Bundle) -> None:
    height, width = bundle.manifest.model.input_size
    with pytest.raises(SegdinoDeployError, match="no batches were loaded"):
        native.turn(0)
    native.load([np.zeros((1, height, width, 3), np.uint8)] * 2, [IMAGES / "absent.png", sorted(IMAGES.iterdir())[0]])

    with pytest.raises(InputError, match=r"absent\.png: no such file"):
        native.turn(0)
    times = native.turn(1)

    assert times.file is not None
    assert min(times.engine_only_ms, times.with_copies_ms, times.file.decode_ms, times.file.run_ms) > 0


def test_an_image_of_another_size_is_refused_and_the_next_one_answered(native: NativeRunner, bundle: Bundle) -> None:
    height, width = bundle.manifest.model.input_size
    child = native._child
    with pytest.raises(InputError, match="no batches of the model's size"):
        child.ask({"do": "run", "batch": 1}, [np.zeros((1, height, width - 1, 3), np.uint8)])
    with pytest.raises(SegdinoDeployError, match="'dance': nothing that this program does"):
        child.ask({"do": "dance"})
    with pytest.raises(SegdinoDeployError, match="batch"):
        child.ask({"do": "run"}, [np.zeros((1, height, width, 3), np.uint8)])

    assert set(native.run({INPUT: np.zeros((1, height, width, 3), np.uint8)})) == {"mask", "logits"}


def test_a_line_that_is_no_json_ends_the_program_with_a_word(native: NativeRunner) -> None:
    stdin = native._child._process.stdin
    assert stdin is not None
    stdin.write(b"hello\n")

    with pytest.raises(SegdinoDeployError, match="ended with status 2: not a line of this protocol: hello"):
        native.turn(0)


def test_the_program_ends_quietly_where_nobody_talks_to_it_any_more(native_build: NativeBuild, bundle: Bundle) -> None:
    done = native_build.run("segdino_bench", bundle.path, "--engine", ENGINE, "--serve", input="")

    greeting, about = (json.loads(line) for line in done.stdout.splitlines())
    assert (done.returncode, done.stderr) == (0, "")
    assert greeting["program"] == "segdino_bench"
    assert about == {"engine": ENGINE, "backend": "openvino", "precision": "fp32", "device": "CPU"}


def test_a_killed_program_is_told(native: NativeRunner, bundle: Bundle) -> None:
    os.kill(native.process_id, signal.SIGKILL)

    with pytest.raises(SegdinoDeployError, match=rf"^{ENGINE} \(C\+\+\): its process has ended with status -9"):
        native.run({INPUT: np.zeros((1, *bundle.manifest.model.input_size, 3), np.uint8)})


def test_a_backend_that_the_program_lacks_is_named_with_its_option(bundle: Bundle, program: Program) -> None:
    with pytest.raises(MissingComponent, match="SEGDINO_WITH_ONNXRUNTIME"):
        open_contestant(bundle, "onnxruntime-fp32 (C++)", program=program)


def test_a_new_process_tells_its_start_and_its_peak(bundle: Bundle, program: Program) -> None:
    report = measure_process(bundle.path, IN_CPP, repeats=2, threads=1, program=program)

    assert len(report.starts) == 2
    for start in report.starts:
        assert min(start.imports_s, start.open_s, start.first_mask_s) > 0
        assert 10 < start.peak_host_mib < 2000
    with pytest.raises(SegdinoDeployError, match=r"^opening x \(C\+\+\) in a new process failed: (?!error: ).*x"):
        measure_process(bundle.path, "x (C++)", repeats=1, program=program)


@pytest.fixture(scope="module")
def benchmark(bundle: Bundle, program: Program, tmp_path_factory: pytest.TempPathFactory) -> tuple[BenchResult, Path]:
    """A whole run, and the folder that it was reported in."""
    folder = tmp_path_factory.mktemp("report")
    options = BenchOptions(
        data=IMAGES,
        max_drop=0.5,
        rounds=2,
        warmup=0,
        callers=(1, 2),
        throughput_seconds=0.05,
        starts=1,
        worst=1,
        layers=True,
        threads=1,
        cpp=program.path,
    )
    result = run_bench(bundle, options, folder / "pictures")
    save_report(result, folder / "pictures", bundle, folder / "report")
    return result, folder / "report"


def test_bench_has_a_row_of_the_engine_in_cpp_beside_that_in_python(
    benchmark: tuple[BenchResult, Path], program: Program
) -> None:
    result, _ = benchmark

    assert [row.name for row in result.rows] == ["model.onnx", ENGINE, IN_CPP, "onnxruntime-fp32"]
    assert list(result.not_run) == ["onnxruntime-fp32 (C++)"]
    python, cpp = result.row(ENGINE), result.row(IN_CPP)
    assert (cpp.backend, cpp.precision, cpp.device) == (python.backend, python.precision, python.device)
    assert cpp.receipt == python.receipt
    assert result.environment.versions["segdino (C++)"] == program.identity
    assert f"--cpp {program.path}" in result.command
    assert cpp.speed.file_to_mask is not None
    for latency in (cpp.speed.engine_only, cpp.speed.with_copies, cpp.speed.file_to_mask.total):
        assert len(latency.samples_ms) == 2 and min(latency.samples_ms) > 0
    assert [entry.callers for entry in cpp.throughput] == [1, 2]
    assert cpp.start_up.total_s > 0 and cpp.peak_host_mib > 10
    assert cpp.no_layers == f"runs the same file as {ENGINE}, of which they are compared"


def test_its_masks_are_judged_as_all_others(benchmark: tuple[BenchResult, Path]) -> None:
    result, _ = benchmark

    python, cpp = result.row(ENGINE), result.row(IN_CPP)
    assert cpp.accuracy is not None and python.accuracy is not None
    assert cpp.accuracy.per_image == python.accuracy.per_image  # one engine: pixel for pixel the same
    assert [verdict.engine for verdict in result.verdicts] == [ENGINE, IN_CPP, "onnxruntime-fp32"]
    assert result.passed


def test_its_row_is_in_every_page_and_read_again_from_the_json(benchmark: tuple[BenchResult, Path]) -> None:
    result, report = benchmark

    stored = BenchResult.model_validate_json((report / "report.json").read_text())
    assert stored.row(IN_CPP) == result.row(IN_CPP)
    for page in ("report.md", "index.html"):
        assert IN_CPP in (report / page).read_text(), page
    assert safe_name(IN_CPP) != safe_name(ENGINE)  # folders of pictures


def test_two_runs_are_compared_row_by_row(benchmark: tuple[BenchResult, Path]) -> None:
    result, _ = benchmark

    comparison = compare(result, result, "old", "new")

    assert IN_CPP in [engine.name for engine in comparison.engines]
    assert not [change for change in comparison.changes if change.engine == IN_CPP]


def test_a_program_that_is_not_there_is_refused_before_anything_is_opened(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segdino_deploy.benchmarks.bench.open_contestants", None)

    with pytest.raises(InputError, match=r"--cpp: .*segdino_bench: no such program; build it: cmake"):
        run_bench(bundle, BenchOptions(cpp=tmp_path / "segdino_bench"), tmp_path)
