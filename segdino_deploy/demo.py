"""The whole path on the packaged example: brain MRI slices and a small trained checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segdino_deploy.benchmarks.bench import run_bench
from segdino_deploy.benchmarks.options import BenchOptions
from segdino_deploy.benchmarks.report.save import report_directory, save_report
from segdino_deploy.benchmarks.result import BenchResult
from segdino_deploy.bundle import check_target
from segdino_deploy.engines.build import BuildOptions, build_engine
from segdino_deploy.engines.run import open_engine
from segdino_deploy.errors import CheckFailed, MissingComponent
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.images import contact_sheet, read_rgb, write_png
from segdino_deploy.manifest import Precision
from segdino_deploy.predict import plan_jobs, predict_files
from segdino_deploy.progress import OnStage, OnStep, ignore
from segdino_deploy.requirements import has_module, require_module
from segdino_deploy.verify import verify_bundle

CHECKPOINT = "small_v1_convt.pth"
WHITE_MATTER = 2  # class index in the example's masks
DEMO_PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class DemoResult:
    bench: BenchResult
    verified: list[str]
    report: Path  # the page to open
    pictures: Path
    sheet: Path


def example_directory() -> Path:
    """The packaged example, or the repository's where the package is installed in place."""
    here = Path(__file__).resolve().parent
    for candidate in (here / "examples" / "mri", here.parent / "examples" / "mri"):
        if (candidate / CHECKPOINT).is_file():
            return candidate
    raise MissingComponent("the packaged example is not here: install segdino-deploy again, or run from its repository")


def run_demo(
    output: Path,
    rounds: int,
    on_step: OnStep = ignore,
    on_count: OnStage = ignore,
) -> DemoResult:
    """Export, build, verify, bench, predict. The bundle is `output`; pictures go to `<output's stem>-predictions`."""
    check_target(output)
    for module in ("torch", "onnxscript", "onnxsim"):
        require_module(module, "the demo", extra="export")
    from segdino_deploy.export.pipeline import export_model

    example = example_directory()
    checkpoint = example / CHECKPOINT
    options = ExportOptions(class_names=("white_matter",))
    bundle = export_model(checkpoint, output, options, on_step=on_step)
    main_backend = "openvino" if has_module("openvino") else "onnxruntime"  # what this version runs
    jobs = [(precision, main_backend) for precision in DEMO_PRECISIONS]
    if has_module("tensorrt_rtx"):  # built without a GPU: the proof that NVIDIA's parser and builder take the graph
        jobs.append(("fp16", "tensorrt-rtx"))
    for precision, backend in jobs:
        calibration = example / "train" if precision == "int8" else None
        build_engine(bundle, BuildOptions(precision, backend, calibration), on_step=on_step)
    verdicts = verify_bundle(bundle, on_step)
    failed = [verdict.name for verdict in verdicts if verdict.failed]
    if failed:
        raise CheckFailed(f"{output}: the canary failed on {', '.join(failed)}")
    bench_options = BenchOptions(
        references=(checkpoint,),
        data=example,
        foreground=(WHITE_MATTER,),
        rounds=rounds,
        throughput_seconds=1,
        starts=1,
        layers=True,
    )
    with report_directory(None) as directory:
        bench = run_bench(bundle, bench_options, directory, on_count)
        report = save_report(bench, directory, bundle, None)
    on_step("segmenting the example's images")
    pictures = output.with_name(f"{output.stem}-predictions")
    with open_engine(bundle.path) as runner:
        predictions = predict_files(runner, plan_jobs([example / "test" / "image"], pictures))
    sheet = pictures / "sheet.png"
    tiles = [read_rgb(prediction.target.overlay) for prediction in predictions]
    write_png(sheet, contact_sheet(tiles, columns=4))
    return DemoResult(bench, [v.name for v in verdicts if v.record is not None], report, pictures, sheet)
