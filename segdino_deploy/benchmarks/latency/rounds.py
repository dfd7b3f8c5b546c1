"""Speed of all contestants side by side: the engine alone, with copies, and from file to mask, in the same rounds.

In every round each contestant has its turn, in which it runs once in each of the ways: a machine that drifts hurts all
of them alike. Its turn begins with a run that does not count, for whoever came before leaves caches full of other data
and threads that still spin: right behind PyTorch, engines were seen to take up to 40% longer. A program that uses one
engine never meets that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.benchmarks.latency.self_timed import SelfTimedRunner
from segdino_deploy.benchmarks.latency.summary import summarise
from segdino_deploy.benchmarks.result import Speed, Stages
from segdino_deploy.engines.run import Runner
from segdino_deploy.engines.run.contract import Bound
from segdino_deploy.errors import InputError, SegdinoDeployError
from segdino_deploy.evidence import mask_agreement, masks_from_outputs
from segdino_deploy.export.graph import INPUT
from segdino_deploy.progress import OnStage, ignore
from segdino_deploy.segment import StageTimes, segment_file_timed
from segdino_deploy.timing import interleave

STAGE = "latency"
SAME_WORK = 0.99  # share of pixels that the engine alone and `run` must agree in; kernels may differ in rounding

UInt8 = NDArray[np.uint8]


@dataclass(frozen=True)
class SpeedSamples:
    """Milliseconds of one contestant, a number per round, not divided by the batch; rounds are those of all."""

    engine_only_ms: list[float] = field(default_factory=list)
    with_copies_ms: list[float] = field(default_factory=list)
    files: list[StageTimes] = field(default_factory=list)  # empty: no files were named

    def last(self, rounds: int) -> SpeedSamples:
        """Without those of the rounds before."""
        return SpeedSamples(self.engine_only_ms[-rounds:], self.with_copies_ms[-rounds:], self.files[-rounds:])


def measure_speed(
    runners: Mapping[str, Runner],
    images: Sequence[UInt8],
    files: Sequence[Path],
    rounds: int,
    warmup: int,
    on_progress: OnStage = ignore,
) -> dict[str, SpeedSamples]:
    """`rounds` samples of each contestant in each way, after `warmup` rounds that do not count.

    `images`: batches, uint8 `[N, H, W, 3]`, which the rounds take turns with; the engine alone always has the first
    one, as its time does not depend on what is in the image. `files`: image files, in turns; may be empty.
    Raises InputError (no rounds, no images, or what a runner does not take), SegdinoDeployError (an engine that fails,
    that cannot run without copies, or that computes something else without them).
    """
    if rounds < 1 or warmup < 0:
        raise InputError(f"{rounds} rounds after {warmup} to warm up: at least 1 after 0 or more")
    if not images:
        raise InputError("latency: no images to measure with; name some with --data")
    turns = {name: _turn_of(name, runner, images, files) for name, runner in runners.items()}
    interleave(
        {name: turn.take for name, turn in turns.items()},
        rounds,
        warmup,
        lambda done, total: on_progress(STAGE, done, total),
    )
    return {name: turn.samples.last(rounds) for name, turn in turns.items()}


def _turn_of(name: str, runner: Runner, images: Sequence[UInt8], files: Sequence[Path]) -> _Turn | _SelfTimedTurn:
    if isinstance(runner, SelfTimedRunner):
        return _SelfTimedTurn(name, runner, images, files)
    return _Turn(runner, _bind(name, runner, images[0]), images, files)


class _Turn:
    """One contestant, and what it took in every turn so far, those to warm up included."""

    def __init__(self, runner: Runner, bound: Bound, images: Sequence[UInt8], files: Sequence[Path]) -> None:
        self._runner = runner
        self._bound = bound
        self._images = images
        self._files = files
        self._ways = [self._engine_only, self._with_copies, *([self._file_to_mask] if files else [])]
        self.samples = SpeedSamples()

    def take(self, index: int) -> None:
        """`index`: of the round. Another way comes first each time."""
        self._bound()
        first = index % len(self._ways)
        for way in self._ways[first:] + self._ways[:first]:
            way(index)

    def _engine_only(self, index: int) -> None:
        del index
        began = perf_counter()
        self._bound()
        self.samples.engine_only_ms.append((perf_counter() - began) * 1e3)

    def _with_copies(self, index: int) -> None:
        inputs = {INPUT: self._images[index % len(self._images)]}
        began = perf_counter()
        self._runner.run(inputs)
        self.samples.with_copies_ms.append((perf_counter() - began) * 1e3)

    def _file_to_mask(self, index: int) -> None:
        _, _, times = segment_file_timed(self._runner, self._files[index % len(self._files)])
        self.samples.files.append(times)


class _SelfTimedTurn:
    """The same of a contestant that takes its times itself."""

    def __init__(self, name: str, runner: SelfTimedRunner, images: Sequence[UInt8], files: Sequence[Path]) -> None:
        """Once it has shown that its own way from a file to masks ends where ours does."""
        self._runner = runner
        self.samples = SpeedSamples()
        runner.load(images, files)
        for path in files[:1]:
            _, expected, _ = segment_file_timed(runner, path)
            for head, mask in runner.segment(path).items():
                same = mask.shape == expected[head].shape and mask_agreement(mask, expected[head])
                if same < SAME_WORK:
                    raise SegdinoDeployError(
                        f"{name}: {path}: read and resized by itself it gives another mask (same in {100 * same:.1f}% "
                        "of the pixels): its time would not be that of the same work; please report this"
                    )

    def take(self, index: int) -> None:
        times = self._runner.turn(index)
        self.samples.engine_only_ms.append(times.engine_only_ms)
        self.samples.with_copies_ms.append(times.with_copies_ms)
        if times.file is not None:
            self.samples.files.append(times.file)


def _bind(name: str, runner: Runner, image: UInt8) -> Bound:
    """The engine alone, once it has shown that it does the work that `run` does."""
    bound = runner.bind(image)
    bound()
    thresholds = runner.card.thresholds
    expected = masks_from_outputs(runner.run({INPUT: image}), thresholds)
    for head, mask in masks_from_outputs(bound.outputs(), thresholds).items():
        share = mask_agreement(mask, expected[head])
        if share < SAME_WORK:
            raise SegdinoDeployError(
                f"{name}: without copies it gives another mask (same in {100 * share:.1f}% of the pixels): its time "
                "would not be that of the engine; please report this"
            )
    return bound


def summarise_speed(samples: Mapping[str, SpeedSamples], images_per_run: int, seed: int = 0) -> dict[str, Speed]:
    """Percentiles per image and ratios to the first contestant, with intervals. `images_per_run`: N of the batches."""
    from segdino_deploy.benchmarks.statistics import interval_of_ratio

    reference = next(iter(samples.values()))

    def speed_of(own: SpeedSamples) -> Speed:
        stages, ratio = None, None
        if own.files:
            stages = _stages(own.files)
            ratio = interval_of_ratio(_totals(reference.files), _totals(own.files), seed)
        return Speed(
            engine_only=summarise(own.engine_only_ms, images_per_run),
            with_copies=summarise(own.with_copies_ms, images_per_run),
            file_to_mask=stages,
            engine_only_ratio=interval_of_ratio(reference.engine_only_ms, own.engine_only_ms, seed),
            with_copies_ratio=interval_of_ratio(reference.with_copies_ms, own.with_copies_ms, seed),
            file_to_mask_ratio=ratio,
        )

    return {name: speed_of(own) for name, own in samples.items()}


def _totals(times: Sequence[StageTimes]) -> list[float]:
    return [one.total_ms for one in times]


def _stages(times: Sequence[StageTimes]) -> Stages:
    return Stages(
        decode=summarise([one.decode_ms for one in times], 1),
        resize=summarise([one.resize_ms for one in times], 1),
        run=summarise([one.run_ms for one in times], 1),
        resize_back=summarise([one.resize_back_ms for one in times], 1),
        total=summarise(_totals(times), 1),
    )
