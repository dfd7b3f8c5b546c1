"""Means of Dice, IoU and HD95 over images, per class and over the classes: what stored results hold."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from segdino_deploy.benchmarks.accuracy.distance import hd95
from segdino_deploy.benchmarks.accuracy.overlap import dice, iou


class ClassScores(BaseModel):
    """Means over the images for one class."""

    name: str
    dice: float
    iou: float
    hd95: float | None  # mean of the finite values, pixels at model size; None where none is finite
    hd95_infinite: int  # images in which exactly one of the two masks is empty, left out of the mean
    images: int


class Scores(BaseModel):
    """Scores per class and their unweighted mean over the classes."""

    dice: float
    iou: float
    hd95: float | None
    hd95_infinite: int
    classes: list[ClassScores]


def score(
    masks: Sequence[NDArray[np.uint8]], truths: Sequence[NDArray[np.uint8]], class_names: Sequence[str]
) -> Scores:
    """Scores of uint8 masks `[H, W]` against the truth at the same size.

    One class: foreground is 1. Several: every class but 0, the background. HD95 over the classes is the mean of each
    class's mean over the images; `image.score_image` takes the mean over the classes of each image.
    """
    labels = [(1, class_names[0])] if len(class_names) == 1 else list(enumerate(class_names))[1:]
    classes = [_score_class(masks, truths, value, name) for value, name in labels]
    finite = [entry.hd95 for entry in classes if entry.hd95 is not None]
    return Scores(
        dice=sum(entry.dice for entry in classes) / len(classes),
        iou=sum(entry.iou for entry in classes) / len(classes),
        hd95=sum(finite) / len(finite) if finite else None,
        hd95_infinite=sum(entry.hd95_infinite for entry in classes),
        classes=classes,
    )


def _score_class(
    masks: Sequence[NDArray[np.uint8]], truths: Sequence[NDArray[np.uint8]], value: int, name: str
) -> ClassScores:
    pairs = [(mask == value, truth == value) for mask, truth in zip(masks, truths, strict=True)]
    distances = [hd95(mask, truth) for mask, truth in pairs]
    finite = [distance for distance in distances if math.isfinite(distance)]
    return ClassScores(
        name=name,
        dice=sum(dice(mask, truth) for mask, truth in pairs) / len(pairs),
        iou=sum(iou(mask, truth) for mask, truth in pairs) / len(pairs),
        hd95=sum(finite) / len(finite) if finite else None,
        hd95_infinite=len(distances) - len(finite),
        images=len(pairs),
    )
