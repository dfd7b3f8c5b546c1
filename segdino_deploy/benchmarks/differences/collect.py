"""The pictures of the images that change most: reference and engines run once more, one image at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.benchmarks.accuracy.summary import PerImage
from segdino_deploy.benchmarks.data.data_set import DataSet
from segdino_deploy.benchmarks.data.truths import read_truth
from segdino_deploy.benchmarks.differences.pictures import write_pictures
from segdino_deploy.benchmarks.differences.worst import agreement_of, choose_worst, metrics_of, worst_head
from segdino_deploy.benchmarks.result import WorstCase
from segdino_deploy.engines.run import Runner, run_padded
from segdino_deploy.evidence import masks_from_outputs
from segdino_deploy.export.options import RESIZE_FILTER
from segdino_deploy.images import read_rgb, resize_rgb
from segdino_deploy.manifest import HeadCard
from segdino_deploy.progress import OnStage, ignore

UInt8 = NDArray[np.uint8]
STAGE = "pictures"


def collect_worst(
    runners: Mapping[str, Runner],
    data: DataSet,
    head: HeadCard | None,
    foreground: Sequence[int] | None,
    per_image: Mapping[str, PerImage],
    count: int,
    directory: Path,
    on_progress: OnStage = ignore,
) -> dict[str, list[WorstCase]]:
    """The `count` worst images of every engine, with pictures written below `directory`; the worst first.

    `runners` and `per_image` by name, the reference first; `head`: whose masks the data set has, None where it has
    none. Pictures show the head that changes most; another one than `head` has no truth. As while scoring, the
    reference sees images resized as in training, engines what the model's card says.
    """
    reference, *engines = runners
    card = runners[reference].card
    names = [sample.image.relative_to(data.directory).as_posix() for sample in data.samples]
    chosen = {name: choose_worst(per_image[name], per_image[reference], names, count) for name in engines}
    shown_in: dict[int, list[str]] = defaultdict(list)
    for name, indices in chosen.items():
        for index in indices:
            shown_in[index].append(name)
    cases: dict[tuple[str, int], WorstCase] = {}
    for done, index in enumerate(sorted(shown_in), start=1):
        sample = data.samples[index]
        source = read_rgb(sample.image)
        trained = resize_rgb(source, card.input_size, RESIZE_FILTER[card.heads[0].family])
        sized = resize_rgb(source, card.input_size, card.resize_filter)
        expected = _masks(runners[reference], trained)
        truth = None if head is None else read_truth(sample, card.input_size, head.num_classes, foreground)
        for name in shown_in[index]:
            shown = worst_head(per_image[name], index)
            pictures = write_pictures(
                directory,
                name,
                chosen[name].index(index) + 1,
                names[index],
                sized,
                expected[shown],
                _masks(runners[name], sized)[shown],
                truth if head is not None and head.name == shown else None,
                next(entry.num_classes for entry in card.heads if entry.name == shown),
            )
            cases[name, index] = WorstCase(
                image=names[index],
                agreement=agreement_of(per_image[name], index),
                metrics=metrics_of(per_image[name], index),
                reference_metrics=metrics_of(per_image[reference], index),
                reference_picture=pictures.reference,
                engine_picture=pictures.engine,
                truth_picture=pictures.truth,
                disagreement_picture=pictures.disagreement,
            )
        on_progress(STAGE, done, len(shown_in))
    return {name: [cases[name, index] for index in indices] for name, indices in chosen.items()}


def _masks(runner: Runner, image_hwc: UInt8) -> dict[str, UInt8]:
    """uint8 `[H, W]` by head."""
    masks = masks_from_outputs(run_padded(runner, image_hwc[None]), runner.card.thresholds)
    return {head: mask[0] for head, mask in masks.items()}
