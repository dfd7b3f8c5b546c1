"""The accuracy of all contestants, image by image: what is kept are numbers, never images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.benchmarks.accuracy.image import compare_image, score_image
from segdino_deploy.benchmarks.data.samples import Sample, read_truth
from segdino_deploy.benchmarks.journal import Journal
from segdino_deploy.engines.run import Runner, run_padded
from segdino_deploy.evidence import masks_from_outputs, outputs_of, probability_from_logits
from segdino_deploy.images import read_rgb, resize_rgb
from segdino_deploy.manifest import HeadCard, ModelCard, ResizeFilter
from segdino_deploy.progress import OnStage

UInt8 = NDArray[np.uint8]
STAGE = "accuracy"


def score_samples(
    runners: Mapping[str, Runner],
    samples: Sequence[Sample],
    head: HeadCard | None,
    trained_filter: ResizeFilter,
    foreground: Sequence[int] | None,
    journal: Journal,
    on_progress: OnStage,
) -> None:
    """Fills the journal with the metrics of every image and contestant that it does not have yet.

    The first runner is the reference. It sees images resized with `trained_filter`, as in training; engines with what
    the model's card says, as programs do, so that a wrong card is seen. `head`: whose masks the samples have; None
    where there are none.
    """
    reference = next(iter(runners))
    for index, sample in enumerate(samples):
        missing = [name for name in runners if not journal.has(name, index)]
        if missing:
            card = runners[reference].card
            source = read_rgb(sample.image)
            truth = None if head is None else read_truth(sample, card.input_size, head.num_classes, foreground)
            expected = _answer(runners[reference], resize_rgb(source, card.input_size, trained_filter))
            sized = resize_rgb(source, card.input_size, card.resize_filter)
            for name in missing:
                answer = expected if name == reference else _answer(runners[name], sized)
                values = _agreement(answer, expected, card)
                if truth is not None and head is not None:
                    values |= _scores(answer, truth, head)
                journal.add(name, index, values)
        on_progress(STAGE, index + 1, len(samples))


Answer = dict[str, NDArray[np.generic]]  # outputs of one image, by tensor name


def _answer(runner: Runner, image_hwc: UInt8) -> Answer:
    return run_padded(runner, image_hwc[None])


def _agreement(answer: Answer, expected: Answer, card: ModelCard) -> dict[str, float | None]:
    """`agreement` and `band_agreement` of every head; of named heads `polyp:agreement`."""
    masks, references = (masks_from_outputs(outputs, card.thresholds) for outputs in (answer, expected))
    return {
        f"{head}:{key}" if head else key: value
        for head in masks
        for key, value in compare_image(masks[head][0], references[head][0]).items()
    }


def _scores(answer: Answer, truth: UInt8, head: HeadCard) -> dict[str, float | None]:
    outputs = outputs_of(answer, head.name)
    mask = masks_from_outputs(answer, {head.name: head.threshold})[head.name][0]
    return score_image(mask, truth, head.class_names, _probability(outputs) if head.num_classes == 1 else None)


def _probability(outputs: Answer) -> NDArray[np.float32] | None:
    """Of the only class, float32 `[H, W]`; None where the model gives masks alone."""
    if "probability" in outputs:
        return np.asarray(outputs["probability"][0, 0], np.float32)
    if "logits" in outputs:
        return np.asarray(probability_from_logits(np.asarray(outputs["logits"], np.float32))[0, 0])
    return None
