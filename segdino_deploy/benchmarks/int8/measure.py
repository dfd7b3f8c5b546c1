"""One case of the suite: our int8 engine, the peer's and PyTorch eager in one run, on images none of them has seen."""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segdino_deploy import __version__, load_segdino
from segdino_deploy.benchmarks.accuracy.agreement import boundary_band
from segdino_deploy.benchmarks.accuracy.scores import score
from segdino_deploy.benchmarks.contestants import TORCH
from segdino_deploy.benchmarks.data.samples import Sample, find_samples, read_truths
from segdino_deploy.benchmarks.int8.peer import quantize
from segdino_deploy.benchmarks.int8.result import Contestant, Int8Result, Plan
from segdino_deploy.benchmarks.int8.suite import Case, Suite
from segdino_deploy.benchmarks.latency.summary import summarise
from segdino_deploy.bundle import Bundle
from segdino_deploy.engines.build import BuildOptions, build_engine
from segdino_deploy.engines.calibration.images import calibration_files
from segdino_deploy.engines.precision.budget.options import Budget, HeldOutOptions
from segdino_deploy.engines.precision.budget.record import read_search
from segdino_deploy.engines.run import Runner, open_in_bundle
from segdino_deploy.engines.run.openvino import OpenVinoRunner, supports
from segdino_deploy.engines.run.torch import TorchRunner
from segdino_deploy.errors import InputError
from segdino_deploy.evidence import mask_agreement, masks_from_outputs
from segdino_deploy.export.graph import INPUT, select_outputs, with_card
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.export.pipeline import export_model
from segdino_deploy.export.plain import trace_plain
from segdino_deploy.machine import machine_name
from segdino_deploy.manifest import Engine, ModelCard, Precision
from segdino_deploy.progress import OnStep
from segdino_deploy.requirements import require_module
from segdino_deploy.segment import load_input
from segdino_deploy.timing import interleave, median_ratio

OURS = "openvino-int8"
BESIDE: tuple[Precision, ...] = ("fp32", "fp16")  # our other engines, for reference
PEER = "nncf-int8"
PEER_PRECISIONS = ("f32", "bf16")  # what surrounds the peer's int8 parts; OpenVINO's f16 is unusably slow there
VERSIONS = ("openvino", "onnx", "numpy", "torch")
Mask = NDArray[np.uint8]


def measure_case(case: Case, suite: Suite, data: Path, python: Path, directory: Path, on_step: OnStep) -> Int8Result:
    """Exports, quantizes on both sides, measures and scores. `python`: the peer's; `directory` is for files.

    Raises InputError (data, checkpoint), BudgetMissed, SegdinoDeployError (the peer): failures are never numbers.
    """

    def say(text: str) -> None:
        on_step(f"{case.name}: {text}")

    checkpoint = data / case.checkpoint
    searched, scored = split_halves(find_samples(data / "test"))
    say("exporting")
    options = ExportOptions(input_size=(case.size, case.size))
    bundle = export_model(checkpoint, directory / "model.segdino", options)
    card = bundle.manifest.model
    truths = read_truths(scored, card.input_size, card.heads[0].num_classes, case.foreground)
    if len(truths) != len(scored):
        raise InputError(f"{data / 'test'}: has no masks in mask/")

    say("the peer quantizes")
    files = calibration_files(data / "train", limit=case.calibration_images)  # as our own build draws them
    plain = export_plain(checkpoint, card, directory / "plain.onnx")
    peer, peer_record = quantize(python, plain, np.stack([load_input(file, card) for file in files]), directory)
    for precision in BESIDE:
        say(f"building {precision}")
        build_engine(bundle, BuildOptions(precision, "openvino"))
    say("searching and building int8")
    held_out = copy_images(searched, directory / "held-out")
    started = time.perf_counter()
    ours = build_engine(
        bundle,
        BuildOptions(
            "int8",
            "openvino",
            calibration=data / "train",
            calibration_images=case.calibration_images,
            budget=Budget(case.max_drop, HeldOutOptions(held_out)),
        ),
        on_note=say,
    )
    build_seconds = time.perf_counter() - started

    runners = _open(bundle, checkpoint, peer, suite.threads)
    images = [load_input(sample.image, card)[None] for sample in scored]  # each [1, H, W, 3]
    say(f"measuring {', '.join(runners)}")
    samples = interleave({n: _rotating(r, images) for n, r in runners.items()}, suite.rounds, suite.warmup)
    say("scoring")
    masks = {name: [_mask(runner, image) for image in images] for name, runner in runners.items()}
    precisions = {name: _computes_in(bundle, name) for name in runners}
    for runner in runners.values():
        runner.close()
    best_peer = min((n for n in runners if n.startswith(PEER)), key=lambda n: float(np.median(samples[n])))
    return Int8Result(
        tool_version=__version__,
        name=case.name,
        model=card,
        machine=machine_name(),
        threads=suite.threads,
        rounds=suite.rounds,
        warmup=suite.warmup,
        versions={n: version(n) for n in VERSIONS} | peer_record.versions | {"python": platform.python_version()},
        calibration_images=peer_record.images,
        scored_images=len(scored),
        plan=_plan(bundle, ours, case),
        build_seconds=round(build_seconds, 2),
        peer_seconds=peer_record.seconds,
        reference=TORCH,
        best_peer=best_peer,
        ours=OURS,
        contestants=[
            Contestant(
                name=name,
                inference_precision=precisions[name],
                latency=summarise(samples[name], 1),
                times_faster=round(median_ratio(samples[TORCH], samples[name]), 4),
                times_faster_than_peer=round(median_ratio(samples[best_peer], samples[name]), 4),
                scores=score(masks[name], truths, card.heads[0].class_names),
                agreement=mask_agreement(np.stack(masks[name]), np.stack(masks[TORCH])),
                changed_in_band_percent=changed_in_band_percent(masks[name], masks[TORCH]),
            )
            for name in runners
        ],
    )


def split_halves(samples: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """The samples of the search, with even index, and those that are scored, with odd. InputError: less than two."""
    if len(samples) < 2:
        raise InputError("the test split needs two images at least: one to search with, one to score")
    return list(samples[::2]), list(samples[1::2])


def copy_images(samples: Sequence[Sample], directory: Path) -> Path:
    """A folder of the images without their masks: a budget on it is a budget of changed pixels."""
    directory.mkdir()
    for index, sample in enumerate(samples):
        shutil.copy(sample.image, directory / f"{index:05}{sample.image.suffix}")
    return directory


def export_plain(checkpoint: Path, card: ModelCard, path: Path) -> Path:
    """What the same exporter makes of the faithful model, with the outputs of `card`."""
    head = card.heads[0]
    model = load_segdino(checkpoint, taps=head.taps)
    graph = trace_plain(model, card.input_size, card.batch, card.mean, card.std, head.threshold)
    graph = with_card(select_outputs(graph, card.output_names), card)
    path.write_bytes(graph.SerializeToString(deterministic=True))
    return path


def changed_in_band_percent(masks: Sequence[Mask], reference: Sequence[Mask]) -> float:
    """Percent of the pixels near a boundary of the reference whose class changed; 0 where there is no boundary."""
    bands = [boundary_band(expected) for expected in reference]
    changed = sum(int((m != e)[b].sum()) for m, e, b in zip(masks, reference, bands, strict=True))
    total = sum(int(band.sum()) for band in bands)
    return 100 * changed / total if total else 0.0


def _open(bundle: Bundle, checkpoint: Path, peer: Path, threads: int) -> dict[str, Runner]:
    """All contestants. Neither the peer nor our int8 runs right behind PyTorch, whose threads may still spin."""
    card = bundle.manifest.model
    runners: dict[str, Runner] = {TORCH: TorchRunner(card, [checkpoint], threads=threads)}
    for precision in BESIDE:
        name = f"openvino-{precision}"
        runners[name] = open_in_bundle(bundle, bundle.manifest.engines[name], threads=threads)
    core = require_module("openvino", "OpenVINO engines", extra="openvino").Core()
    for inference_precision in PEER_PRECISIONS:
        if supports(core, inference_precision):
            engine = Engine(
                file=peer.name,
                backend="openvino",
                precision="int8",
                source="plain.onnx",
                built_with={},
                inference_precision=inference_precision,
            )
            runners[f"{PEER}-{inference_precision}"] = OpenVinoRunner(card, engine, peer, threads)
    runners[OURS] = open_in_bundle(bundle, bundle.manifest.engines[OURS], threads=threads)
    return runners


def _rotating(runner: Runner, images: Sequence[NDArray[np.uint8]]) -> Callable[[int], object]:
    return lambda index: runner.run({INPUT: images[index % len(images)]})


def _mask(runner: Runner, image: NDArray[np.uint8]) -> Mask:
    (masks,) = masks_from_outputs(runner.run({INPUT: image}), runner.card.thresholds).values()  # [1, H, W]
    return np.asarray(masks[0], np.uint8)


def _computes_in(bundle: Bundle, name: str) -> str:
    if name.startswith(PEER):
        return name.removeprefix(f"{PEER}-")
    return "f32" if name == TORCH else bundle.manifest.engines[name].inference_precision or "f32"


def _plan(bundle: Bundle, engine: Engine, case: Case) -> Plan:
    typed = next(record for record in bundle.manifest.onnx.values() if record.file == engine.source)
    search = read_search(bundle, OURS)
    assert typed.int8 is not None and search.chosen is not None
    return Plan(
        name=search.chosen,
        groups=len(search.groups),
        fp32_groups=typed.int8.floats,
        lowering=search.lowering,
        max_drop=case.max_drop,
        changed_percent=search.point(search.chosen).loss.changed_percent,
        held_out_images=search.held_out_images,
    )
