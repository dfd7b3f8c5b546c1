"""One case of the suite: both exports of one model, their engines, and what they cost."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from pydantic import BaseModel

from segdino_deploy import __version__
from segdino_deploy.benchmarks.graph.models import random_segdino, save_checkpoint
from segdino_deploy.benchmarks.graph.suite import EngineSpec, Suite
from segdino_deploy.benchmarks.latency.summary import Latency, summarise
from segdino_deploy.benchmarks.process import peak_memory_mib
from segdino_deploy.bundle import CANARY, Bundle
from segdino_deploy.canary import Canary
from segdino_deploy.engines.build import BuildOptions, build_engine
from segdino_deploy.engines.lowering.choose import AUTO, NONE
from segdino_deploy.engines.run import open_in_bundle
from segdino_deploy.export.graph import INPUT, load_onnx, select_outputs, with_card
from segdino_deploy.export.operations import count_stages
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.export.pipeline import FP32_FILE, export_model
from segdino_deploy.export.plain import trace_plain
from segdino_deploy.machine import machine_name
from segdino_deploy.manifest import LoweringRecord, Manifest, StageCount
from segdino_deploy.model.segdino import SegDINO
from segdino_deploy.progress import OnStep
from segdino_deploy.receipts import typed_model_record
from segdino_deploy.timing import every_round, interleave, median_ratio

TENSORRT = EngineSpec(backend="tensorrt-rtx", precision="fp32")
PLAIN = (NONE,)  # the plain side is never respelled


class Side(BaseModel):
    """One of the two exports."""

    nodes: int
    stages: dict[str, StageCount]
    file_mib: float
    tensorrt_layers: int
    tensorrt_mib: float


class EngineResult(BaseModel):
    """One engine of both exports, in turns."""

    name: str
    inference_precision: str | None
    plain: Latency
    folded: Latency
    times_faster: float  # folded than plain, median over the rounds
    plain_peak_mib: float
    folded_peak_mib: float
    mask_agreement: float  # of the two on the canary
    lowering: list[LoweringRecord]


class GraphResult(BaseModel):
    tool_version: str
    family: str
    size: int
    machine: str
    threads: int
    rounds: int
    warmup: int
    plain: Side
    folded: Side
    engines: list[EngineResult]


def measure_case(family: str, size: int, suite: Suite, directory: Path, on_step: OnStep) -> GraphResult:
    """Exports, builds and measures one family at one size. `directory` is for its files."""
    on_step(f"{family} {size}: exporting")
    model = random_segdino(family, seed=suite.seed)
    checkpoint = save_checkpoint(model, directory / "model.pth")
    folded = export_model(checkpoint, directory / "folded.segdino", ExportOptions(input_size=(size, size)))
    plain = _export_plain(model, folded, directory / "plain.segdino")
    engines = []
    for spec in suite.engines:
        on_step(f"{family} {size}: building {spec.name}, plain and folded")
        build_engine(plain, _options(spec, PLAIN))
        build_engine(folded, _options(spec, (AUTO,)))
        on_step(f"{family} {size}: measuring {spec.name}")
        engines.append(_measure_engine(spec, plain, folded, suite))
    on_step(f"{family} {size}: building with TensorRT-RTX")
    return GraphResult(
        tool_version=__version__,
        family=family,
        size=size,
        machine=machine_name(),
        threads=suite.threads,
        rounds=suite.rounds,
        warmup=suite.warmup,
        plain=_describe(plain),
        folded=_describe(folded),
        engines=engines,
    )


def _export_plain(model: SegDINO, folded: Bundle, path: Path) -> Bundle:
    """A bundle around the plain graph, with the folded one's card and canary."""
    card = folded.manifest.model
    graph = trace_plain(model, card.input_size, card.batch, card.mean, card.std, card.heads[0].threshold)
    graph = with_card(select_outputs(graph, card.output_names), card)
    record = typed_model_record(graph, FP32_FILE, "fp32", parity=[])
    content = {
        FP32_FILE: graph.SerializeToString(deterministic=True),
        CANARY: folded.file(CANARY).read_bytes(),
    }
    return Bundle.create(path, Manifest(tool_version=__version__, model=card, onnx={"fp32": record}), content)


def _options(spec: EngineSpec, lowering: tuple[str, ...]) -> BuildOptions:
    return BuildOptions(spec.precision, spec.backend, lowering=lowering, inference_precision=spec.inference_precision)


def _measure_engine(spec: EngineSpec, plain: Bundle, folded: Bundle, suite: Suite) -> EngineResult:
    image = Canary.read(folded.file(CANARY)).image
    bundles = {"plain": plain, "folded": folded}
    runners = {
        side: open_in_bundle(bundle, bundle.manifest.engines[spec.name], threads=suite.threads)
        for side, bundle in bundles.items()
    }
    masks = {side: runner.run({INPUT: image})["mask"] for side, runner in runners.items()}
    samples = interleave(
        {side: every_round(partial(runner.run, {INPUT: image})) for side, runner in runners.items()},
        suite.rounds,
        suite.warmup,
    )
    for runner in runners.values():
        runner.close()
    engine = folded.manifest.engines[spec.name]
    return EngineResult(
        name=spec.name,
        inference_precision=engine.inference_precision,
        plain=summarise(samples["plain"], len(image)),
        folded=summarise(samples["folded"], len(image)),
        times_faster=round(median_ratio(samples["plain"], samples["folded"]), 4),
        plain_peak_mib=peak_memory_mib(plain.path, spec.name),
        folded_peak_mib=peak_memory_mib(folded.path, spec.name),
        mask_agreement=float((masks["plain"] == masks["folded"]).mean()),
        lowering=engine.lowering,
    )


def _describe(bundle: Bundle) -> Side:
    stages = count_stages(load_onnx(bundle.file(FP32_FILE)))
    engine = build_engine(bundle, _options(TENSORRT, PLAIN))
    return Side(
        nodes=sum(stage.operations for stage in stages.values()),
        stages=stages,
        file_mib=round(bundle.file(FP32_FILE).stat().st_size / 2**20, 2),
        tensorrt_layers=engine.receipt["network_layers"],
        tensorrt_mib=round(bundle.file(engine.file).stat().st_size / 2**20, 2),
    )
