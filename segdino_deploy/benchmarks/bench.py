"""The benchmark: speed, memory and accuracy of the reference and of every engine that runs here, in one run."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segdino_deploy import __version__
from segdino_deploy.benchmarks.accuracy.summary import summarise_accuracy
from segdino_deploy.benchmarks.contestants import (
    CPP_LIBRARY,
    TORCH,
    Contestants,
    engine_of,
    identity_of,
    is_in_cpp,
    open_contestants,
)
from segdino_deploy.benchmarks.data.data_set import check_truths, open_data_set, sample_digests
from segdino_deploy.benchmarks.data.heads import choose_head
from segdino_deploy.benchmarks.differences.collect import collect_worst
from segdino_deploy.benchmarks.differences.layers import compare_layers, why_no_layers
from segdino_deploy.benchmarks.energy import measure_energy, open_meter
from segdino_deploy.benchmarks.journal import Journal
from segdino_deploy.benchmarks.latency.rounds import measure_speed, summarise_speed
from segdino_deploy.benchmarks.latency.self_timed import SelfTimedRunner
from segdino_deploy.benchmarks.latency.throughput import BATCHES, check_batch_sizes, fill_batches, measure_throughput
from segdino_deploy.benchmarks.measured import Measured, Scored, data_of, environment_of, row_of
from segdino_deploy.benchmarks.native.program import find_program
from segdino_deploy.benchmarks.options import BenchOptions
from segdino_deploy.benchmarks.process import ProcessReport, measure_process
from segdino_deploy.benchmarks.result import (
    Accuracy,
    BenchResult,
    Energy,
    Environment,
    Layers,
    WorstCase,
)
from segdino_deploy.benchmarks.scoring import score_samples
from segdino_deploy.benchmarks.verdict import judge
from segdino_deploy.bundle import CANARY, Bundle
from segdino_deploy.canary import Canary
from segdino_deploy.engines.run import Runner
from segdino_deploy.errors import CheckFailed, InputError
from segdino_deploy.export.graph import INPUT
from segdino_deploy.export.options import RESIZE_FILTER
from segdino_deploy.machine import OtherWork, usable_threads
from segdino_deploy.manifest import ModelCard
from segdino_deploy.progress import OnStage, ignore
from segdino_deploy.segment import load_input

LAYER_IMAGES = 4


def run_bench(bundle: Bundle, options: BenchOptions, directory: Path, on_progress: OnStage = ignore) -> BenchResult:
    """Measures. Pictures of the images that change most are written to `directory`.

    Raises InputError for data that does not fit; failures are errors, never numbers. The scores of a run that was
    interrupted are taken over by the next one of the same images, reference and engines.
    """
    card = bundle.manifest.model
    check_batch_sizes(card, options.batch_sizes)
    if options.threads is not None and options.threads > usable_threads():
        raise InputError(f"--threads: {options.threads}: this process may use {usable_threads()} processors here")
    program = None if options.cpp is None else find_program(options.cpp)
    scored = None if options.data is None else _open_data(card, options, on_progress)
    threads = options.threads or usable_threads()
    contestants = open_contestants(bundle, options.references, options.backbone_weights, threads, program)
    with ExitStack() as stack:
        for runner in contestants.runners.values():
            stack.callback(runner.close)
        environment = environment_of(contestants, threads)
        journal = None
        if scored is not None:
            journal = stack.enter_context(_open_journal(bundle, contestants, scored, options, environment, directory))
        measured = _measure(bundle, contestants, scored, journal, options, directory, on_progress)
        rows = [row_of(bundle, name, runner, measured) for name, runner in contestants.runners.items()]
    head = "" if scored is None or scored.head is None else scored.head.name
    result = BenchResult(
        tool_version=__version__,
        command=options.command(bundle.path),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        bundle=bundle.path.absolute().name,
        model=card,
        environment=environment.model_copy(update={"others_busy": measured.others_busy}),
        rounds=options.rounds,
        warmup=options.warmup,
        batch=card.batch.min,
        reference=contestants.reference,
        reference_identity=identity_of(bundle, contestants.reference),
        data=None if scored is None else data_of(scored, options.foreground),
        rows=rows,
        budget=options.max_drop,
        verdicts=[] if options.max_drop is None else judge(rows, options.max_drop, head, options.seed),
        not_run=contestants.skipped,
    )
    if journal is not None:
        journal.finish()
    return result


def _open_data(card: ModelCard, options: BenchOptions, on_progress: OnStage) -> Scored:
    assert options.data is not None
    data = open_data_set(options.data.absolute(), options.image_dir, options.mask_dir)
    if not data.has_masks:
        options.require_no_masks_asked()
    head = choose_head(card, options.head, data.has_masks)
    if data.has_masks:
        check_truths(
            data, head.num_classes, options.foreground, lambda done, total: on_progress("checking masks", done, total)
        )
    digests = sample_digests(data, lambda done, total: on_progress("reading the data", done, total))
    return Scored(data, head if data.has_masks else None, digests)


def _measure(
    bundle: Bundle,
    contestants: Contestants,
    scored: Scored | None,
    journal: Journal | None,
    options: BenchOptions,
    directory: Path,
    on_progress: OnStage,
) -> Measured:
    card, runners = bundle.manifest.model, contestants.runners
    files = [] if scored is None else [sample.image for sample in scored.data.samples]
    images = _inputs(files, card, Canary.read(bundle.file(CANARY)))
    others = OtherWork([runner.process_id for runner in runners.values() if isinstance(runner, SelfTimedRunner)])
    samples = measure_speed(runners, images, files, options.rounds, options.warmup, on_progress)
    others_busy = others.processors()
    speed = summarise_speed(samples, card.batch.min, options.seed)
    throughput = {}
    energy = {}
    for index, (name, runner) in enumerate(runners.items()):
        sizes = options.batch_sizes or (card.batch.min,)
        seconds = options.throughput_seconds
        throughput[name] = measure_throughput(runner, images, sizes, options.callers, seconds) if seconds else []
        energy[name] = _energy(runner, images[0], seconds) if seconds else None
        on_progress("throughput", index + 1, len(runners))
    accuracy: dict[str, Accuracy] = {}
    worst: dict[str, list[WorstCase]] = {}
    if scored is not None and journal is not None:
        accuracy = _accuracy(contestants, scored, journal, options, on_progress)
        if options.worst:
            per_image = {name: entry.per_image for name, entry in accuracy.items()}
            worst = collect_worst(
                runners, scored.data, scored.head, options.foreground, per_image, options.worst, directory, on_progress
            )
    layers = _layers(bundle, contestants, images, on_progress) if options.layers else {}
    processes = _processes(bundle, contestants, options, on_progress)
    return Measured(speed, throughput, energy, accuracy, worst, layers, processes, others_busy)


def _inputs(files: list[Path], card: ModelCard, canary: Canary) -> list[NDArray[np.uint8]]:
    """Batches for the latency: of the first images of the data, else the canary."""
    if not files:
        return [canary.image]
    few = files[: max(BATCHES, card.batch.min)]
    return fill_batches(np.stack([load_input(path, card) for path in few]), card.batch.min)


def _energy(runner: Runner, image: NDArray[np.uint8], seconds: float) -> Energy | None:
    meter = open_meter(runner.backend)
    if meter is None:
        return None
    run = runner.run_again if isinstance(runner, SelfTimedRunner) else lambda: runner.run({INPUT: image})
    return measure_energy(meter, run, len(image), seconds)


def _open_journal(
    bundle: Bundle,
    contestants: Contestants,
    scored: Scored,
    options: BenchOptions,
    environment: Environment,
    directory: Path,
) -> Journal:
    """Beside the bundle; where nothing can be written there, in `directory`: then there is nothing to go on with."""
    card, runners = bundle.manifest.model, contestants.runners
    here = f"{environment.machine} {environment.system}"
    libraries = {name: CPP_LIBRARY if is_in_cpp(name) else runner.backend for name, runner in runners.items()}
    identities = {
        name: f"{identity_of(bundle, name)} {environment.versions[library]} {here}"
        for name, library in libraries.items()
    }
    # The data set by its place, its files one by one: a run of another one has a journal of its own.
    data = [str(scored.data.directory.resolve()), scored.data.layout]
    depends_on = [__version__, card.model_dump(mode="json"), data, options.foreground, options.head]
    key = hashlib.sha256(json.dumps([*depends_on, identities[contestants.reference]]).encode()).hexdigest()
    beside = bundle.path.absolute()
    folder = beside.parent if os.access(beside.parent, os.W_OK) else directory
    return Journal(folder / f"{beside.name}.bench-partial-{key[:8]}.jsonl", key, identities, scored.digests)


def _accuracy(
    contestants: Contestants, scored: Scored, journal: Journal, options: BenchOptions, on_progress: OnStage
) -> dict[str, Accuracy]:
    runners = contestants.runners
    trained = RESIZE_FILTER[runners[contestants.reference].card.heads[0].family]
    score_samples(runners, scored.data.samples, scored.head, trained, options.foreground, journal, on_progress)
    per_image = {name: journal.per_image(name) for name in runners}
    reference = per_image[contestants.reference]
    return {
        name: Accuracy(per_image=values, summary=summarise_accuracy(values, reference, options.seed))
        for name, values in per_image.items()
    }


def _layers(
    bundle: Bundle, contestants: Contestants, images: list[NDArray[np.uint8]], on_progress: OnStage
) -> dict[str, Layers | str]:
    """Of every engine, or why there is nothing to compare."""
    few = np.concatenate([batch[:1] for batch in images[:LAYER_IMAGES]])
    found: dict[str, Layers | str] = {}
    for name in contestants.runners:
        if name == contestants.reference:
            continue
        if is_in_cpp(name):
            found[name] = f"runs the same file as {engine_of(name)}, of which they are compared"
            continue

        def report(done: int, total: int, stage: str = f"layers of {name}") -> None:
            on_progress(stage, done, total)

        try:
            found[name] = why_no_layers(bundle, name) or compare_layers(bundle, name, few, report)
        except CheckFailed as error:  # a value that is NaN or infinite, by name
            found[name] = str(error)
    return found


def _processes(
    bundle: Bundle, contestants: Contestants, options: BenchOptions, on_progress: OnStage
) -> dict[str, ProcessReport]:
    reports: dict[str, ProcessReport] = {}
    for index, name in enumerate(contestants.runners):
        files = (options.references, options.backbone_weights) if name == TORCH else ((), None)
        threads = options.threads or usable_threads()
        reports[name] = measure_process(bundle.path, name, *files, options.starts, threads, contestants.program)
        on_progress("start-up and memory", index + 1, len(contestants.runners))
    return reports
