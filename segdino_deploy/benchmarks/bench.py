"""The benchmark: latency, memory and accuracy of the reference and of every runnable engine, in one run."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from segdino_deploy import __version__
from segdino_deploy.benchmarks.accuracy import Scores, score
from segdino_deploy.benchmarks.contestants import TORCH, Contestants, open_contestants
from segdino_deploy.benchmarks.dataset import Sample, find_samples, read_truths
from segdino_deploy.benchmarks.latency import Latency, summarise
from segdino_deploy.benchmarks.memory import peak_memory_mib
from segdino_deploy.bundle import CANARY, Bundle
from segdino_deploy.canary import Canary
from segdino_deploy.engines.run import Runner, run_padded
from segdino_deploy.errors import InputError
from segdino_deploy.evidence import mask_agreement, masks_from_outputs
from segdino_deploy.export.graph import INPUT
from segdino_deploy.machine import machine_name, usable_threads
from segdino_deploy.manifest import HeadCard, ModelCard
from segdino_deploy.progress import OnStage, ignore
from segdino_deploy.segment import load_input, segment_file
from segdino_deploy.timing import interleave, median_ratio

MasksByHead = dict[str, list[NDArray[np.uint8]]]


@dataclass(frozen=True)
class BenchOptions:
    references: tuple[Path, ...] = ()  # a checkpoint per head; none: model.onnx in ONNX Runtime stands in for them
    backbone_weights: Path | None = None
    data: Path | None = None  # data set folder, or folder of images
    image_dir: str = "image"
    mask_dir: str = "mask"
    foreground: tuple[int, ...] | None = None
    head: str | None = None  # whose masks the data set holds; None: the only head
    rounds: int = 20
    warmup: int = 3
    threads: int | None = None  # None: as many as this process may use


class Row(BaseModel):
    """One contestant."""

    name: str
    backend: str
    precision: str
    engine_only: Latency  # uint8 batch in memory to outputs in memory
    end_to_end: Latency | None  # image file to mask at source size; None without data
    times_faster: float  # than the reference, engine only, median over the rounds
    peak_memory_mib: float
    mask_agreement: float | None  # with the reference, share of pixels over all images, worst head; None without data
    mask_agreement_by_head: dict[str, float] = {}  # of named heads
    scores: Scores | None  # against the truth; None without masks


class BenchResult(BaseModel):
    """Everything one run measured; tables are rendered from it."""

    tool_version: str
    model: ModelCard
    machine: str
    threads: int
    rounds: int
    warmup: int
    batch: int
    images: int
    versions: dict[str, str]
    reference: str
    scored_head: str = ""  # whose scores the rows hold
    rows: list[Row]
    skipped: dict[str, str]


def run_bench(bundle: Bundle, options: BenchOptions, on_progress: OnStage = ignore) -> BenchResult:
    """Measures. Raises InputError for data that does not fit; failures are errors, never numbers."""
    card = bundle.manifest.model
    threads = options.threads or usable_threads()
    samples = [] if options.data is None else find_samples(options.data, options.image_dir, options.mask_dir)
    has_masks = bool(samples) and samples[0].mask is not None
    if options.data is not None and not has_masks and (options.foreground or options.mask_dir != "mask"):
        raise InputError(f"{options.data}: has no masks in {options.mask_dir}/; name their folder with --mask-dir")
    head = choose_head(card, options.head, has_masks)
    truths = read_truths(samples, card.input_size, head.num_classes, options.foreground) if has_masks else []
    contestants = open_contestants(bundle, options.references, options.backbone_weights, threads)
    try:
        canary = Canary.read(bundle.file(CANARY))
        images = _inputs(samples, card, canary)
        engine_ms = interleave(
            {name: _engine_only(runner, images) for name, runner in contestants.runners.items()},
            options.rounds,
            options.warmup,
            lambda done, total: on_progress("latency, engine only", done, total),
        )
        file_ms = _end_to_end_ms(contestants, samples, options, on_progress)
        masks = _all_masks(contestants, samples, card, on_progress) if samples else {}
    finally:
        for runner in contestants.runners.values():
            runner.close()
    memory = _memory(bundle, contestants, options, on_progress)
    reference = contestants.reference
    agreements = {name: _agreements(masks[name], masks[reference]) for name in masks}
    rows = [
        Row(
            name=name,
            backend=runner.backend,
            precision=runner.precision,
            engine_only=summarise(engine_ms[name], card.batch.min),
            end_to_end=summarise(file_ms[name], 1) if file_ms else None,
            times_faster=median_ratio(engine_ms[reference], engine_ms[name]),
            peak_memory_mib=memory[name],
            mask_agreement=min(agreements[name].values()) if masks else None,
            mask_agreement_by_head={k: v for k, v in agreements.get(name, {}).items() if k},
            scores=score(masks[name][head.name], truths, head.class_names) if truths else None,
        )
        for name, runner in contestants.runners.items()
    ]
    return BenchResult(
        tool_version=__version__,
        model=card,
        machine=machine_name(),
        threads=threads,
        rounds=options.rounds,
        warmup=options.warmup,
        batch=card.batch.min,
        images=len(samples),
        versions=_versions(contestants),
        reference=reference,
        scored_head=head.name if truths else "",
        rows=rows,
        skipped=contestants.skipped,
    )


def choose_head(card: ModelCard, name: str | None, has_masks: bool) -> HeadCard:
    """The head that masks score; the first where there are no masks. InputError: none named of several, unknown."""
    names = ", ".join(head.name for head in card.heads)
    if name is None:
        if has_masks and len(card.heads) > 1:
            raise InputError(f"--data: its masks belong to one head; name it with --head ({names})")
        return card.heads[0]
    if not has_masks:
        raise InputError(f"--head: {name!r} has no masks to be scored with; name a data set that has them with --data")
    for head in card.heads:
        if name == head.name:
            return head
    raise InputError(f"--head: {name!r} is none of this model's ({names or 'one head without a name'})")


def _inputs(samples: Sequence[Sample], card: ModelCard, canary: Canary, limit: int = 16) -> list[NDArray[np.uint8]]:
    """Batches for the engine-only latency: the first images of the data, else the canary."""
    if not samples:
        return [canary.image]
    return [np.repeat(load_input(sample.image, card)[None], card.batch.min, axis=0) for sample in samples[:limit]]


def _engine_only(runner: Runner, images: Sequence[NDArray[np.uint8]]) -> Callable[[int], object]:
    return lambda index: runner.run({INPUT: images[index % len(images)]})


def _end_to_end_ms(
    contestants: Contestants, samples: Sequence[Sample], options: BenchOptions, on_progress: OnStage
) -> dict[str, list[float]]:
    if not samples:
        return {}

    def whole(runner: Runner) -> Callable[[int], object]:
        return lambda index: segment_file(runner, samples[index % len(samples)].image)

    return interleave(
        {name: whole(runner) for name, runner in contestants.runners.items()},
        options.rounds,
        options.warmup,
        lambda done, total: on_progress("latency, file to mask", done, total),
    )


def _all_masks(
    contestants: Contestants, samples: Sequence[Sample], card: ModelCard, on_progress: OnStage
) -> dict[str, MasksByHead]:
    masks: dict[str, MasksByHead] = {name: {head.name: [] for head in card.heads} for name in contestants.runners}
    for index, sample in enumerate(samples):
        image = load_input(sample.image, card)[None]
        for name, runner in contestants.runners.items():
            for head, mask in masks_from_outputs(run_padded(runner, image), card.thresholds).items():
                masks[name][head].append(mask[0])
        on_progress("accuracy", index + 1, len(samples))
    return masks


def _agreements(masks: MasksByHead, reference: MasksByHead) -> dict[str, float]:
    return {head: mask_agreement(np.stack(masks[head]), np.stack(reference[head])) for head in masks}


def _memory(bundle: Bundle, contestants: Contestants, options: BenchOptions, on_progress: OnStage) -> dict[str, float]:
    peaks: dict[str, float] = {}
    for index, name in enumerate(contestants.runners):
        files = (options.references, options.backbone_weights) if name == TORCH else ((), None)
        peaks[name] = peak_memory_mib(bundle.path, name, *files)
        on_progress("peak memory", index + 1, len(contestants.runners))
    return peaks


def _versions(contestants: Contestants) -> dict[str, str]:
    from importlib.metadata import version

    names = sorted({runner.backend for runner in contestants.runners.values()})
    return {name: version(name) for name in names} | {"python": platform.python_version()}


def save_report(result: BenchResult, bundle: Bundle, directory: Path | None) -> None:
    """Stores `bench.json` and `bench.md` in the bundle's `report/` and, where asked, in `directory`."""
    from segdino_deploy.atomic import write_atomically
    from segdino_deploy.benchmarks.report import markdown

    files = {
        "bench.json": (result.model_dump_json(indent=1) + "\n").encode(),
        "bench.md": markdown(result).encode(),
    }
    if directory is not None:
        for name, content in files.items():
            write_atomically(directory / name, content)
    bundle.update({f"report/{name}": content for name, content in files.items()}, lambda manifest: manifest)
