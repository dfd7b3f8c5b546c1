"""The page, and the stored results that it is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from segdino_deploy.benchmarks.gpu.plan import cases_of, specs_of
from segdino_deploy.benchmarks.gpu.report import COLUMNS, FOLDING_COLUMNS, NOTHING, render_directory
from segdino_deploy.benchmarks.gpu.result import CaseResult, Group, Machine, Measured, Refusal
from segdino_deploy.benchmarks.gpu.statistics import times_faster
from segdino_deploy.benchmarks.gpu.store import Store, read_result
from segdino_deploy.benchmarks.gpu.suite import ExportName, RuntimeName, read_suite
from segdino_deploy.benchmarks.latency.summary import summarise
from segdino_deploy.errors import InputError
from segdino_deploy.timing import median_ratio

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
STORED = sorted((BENCHMARKS / "results" / "gpu").glob("*.json"))
MACHINE = Machine(kind="cuda", name="NVIDIA L4", compute_capability="8.9", memory_mib=23034, processor="a CPU")


def test_the_stored_page_is_what_the_stored_results_give() -> None:
    assert (BENCHMARKS / "GPU.md").read_text() == render_directory(BENCHMARKS / "results" / "gpu")


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_stored_ratios_follow_from_the_stored_samples(path: Path) -> None:
    suite = read_suite(BENCHMARKS / "gpu.toml")
    result = read_result(path)

    assert result.machine.kind == "cuda"
    assert {case.name for case in result.cases} <= {case.name for case in cases_of(suite)}
    for case in result.cases:
        for group in case.groups:
            baseline = next((entry for entry in group.contestants if entry.name == group.baseline), None)
            for entry in group.contestants:
                assert entry.name in {spec.name for spec in specs_of(suite)}
                assert len(entry.device.samples_ms) == len(entry.host.samples_ms) == group.rounds
                if baseline is not None:
                    ratio = median_ratio(baseline.device.samples_ms, entry.device.samples_ms)
                    assert entry.times_faster == pytest.approx(ratio, rel=1e-3)


def _measured(runtime: RuntimeName, export: ExportName, device: list[float], host: list[float]) -> Measured:
    return Measured(
        name=f"{runtime}-fp16-{export}",
        runtime=runtime,
        precision="fp16",
        export=export,
        device=summarise(device, 1),
        host=summarise(host, 1),
        times_faster=times_faster([8.0, 8.0, 8.0], device),
        host_times_faster=None,
        relative_error=1.5e-3,
        mask_agreement=0.9995,
        prepare_seconds=41.6,
        engine_mib=None if runtime == "torch-eager" else 48.25,
        notes=["some nodes run on the processor"] if runtime == "onnxruntime" else [],
    )


def _result() -> CaseResult:
    group = Group(
        tool_version="0.1.0",
        versions={"torch": "2.13", "cuda": "13.0"},
        baseline="torch-eager-fp32-plain",
        rounds=3,
        warmup=1,
        contestants=[
            _measured("tensorrt", "folded", [1.0, 2.0, 1.0], [3.0, 3.0, 3.0]),
            _measured("tensorrt", "plain", [2.0, 2.0, 4.0], [4.0, 4.0, 4.0]),
            _measured("onnxruntime", "folded", [4.0, 4.0, 4.0], [5.0, 5.0, 5.0]),
        ],
    )
    case = CaseResult(name="x", family="v1_convt", vit="s", size=512, batch=8, seed=0).with_group(group)
    for name in ("tensorrt-rtx-fp16-folded", "tensorrt-rtx-fp16-plain"):
        case = case.with_refusal(Refusal(name=name, kind="failed", reason="it was not built for this GPU"))
    return case.with_refusal(Refusal(name="torch-compile-fp16-plain", kind="memory", reason="out of memory"))


def test_the_page_says_what_was_measured(tmp_path: Path) -> None:
    """tensorrt folded: 8 / (1, 2, 1) is 8, 4, 8: median 8. Its median of 1 ms for 8 images is 8000 images/s. Folded
    against plain, round by round: 2, 1 and 4: median 2. p90 of 1, 1, 2 lies .8 of the way from 1 to 2.
    """
    Store(tmp_path, MACHINE).save(_result())

    page = render_directory(tmp_path)

    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    assert rows[0] == list(COLUMNS)
    assert rows[2] == [
        "tensorrt-fp16-folded",
        *("1.000", "1.800", "1.900", "1.980", "8000", "8.00"),
        *("3.000", "3.000", "-", "1.5e-03", "0.99950", "42", "48.2"),
    ]
    assert rows[5] == list(FOLDING_COLUMNS)
    assert rows[7:] == [["tensorrt-fp16", "2.000", "1.000", "2.00"]]
    assert "## NVIDIA L4\n\nCompute capability 8.9, 23034 MiB; a CPU." in page
    assert "### v1_convt, ViT-S, 512x512, batch 8\n\n3 rounds after 1 to warm up." in page
    assert "- tensorrt-rtx-fp16-folded, tensorrt-rtx-fp16-plain: it was not built for this GPU\n" in page
    assert "- torch-compile-fp16-plain: out of memory\n" in page
    assert "- onnxruntime-fp16-folded: some nodes run on the processor\n" in page
    assert "Versions: cuda 13.0, torch 2.13, segdino-deploy 0.1.0." in page


def test_without_results_the_page_says_how_to_make_one(tmp_path: Path) -> None:
    assert render_directory(tmp_path / "none") == f"# On NVIDIA GPUs\n\n{NOTHING}\n"
    assert "python benchmarks/gpu.py" in NOTHING


def test_a_trial_run_without_a_gpu_never_gets_onto_the_page(tmp_path: Path) -> None:
    Store(tmp_path, MACHINE.model_copy(update={"kind": "cpu"})).save(_result())

    with pytest.raises(InputError, match=r"nvidia-l4.json: is a trial run without a GPU"):
        render_directory(tmp_path)
