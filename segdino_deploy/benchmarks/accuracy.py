"""Dice, IoU and HD95 by the protocol of the papers (arXiv 2509.00833, 2606.17972): per image, then the mean."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

EPSILON = 1e-6  # of Dice and IoU: two empty masks score 1
Bool = NDArray[np.bool_]


def dice(predicted: Bool, truth: Bool) -> float:
    """(2 |A and B| + eps) / (|A| + |B| + eps)."""
    overlap = int(np.logical_and(predicted, truth).sum())
    return (2 * overlap + EPSILON) / (int(predicted.sum()) + int(truth.sum()) + EPSILON)


def iou(predicted: Bool, truth: Bool) -> float:
    """(|A and B| + eps) / (|A or B| + eps)."""
    overlap = int(np.logical_and(predicted, truth).sum())
    return (overlap + EPSILON) / (int(np.logical_or(predicted, truth).sum()) + EPSILON)


def boundary(mask: Bool) -> Bool:
    """Pixels of the mask with a 4-neighbour outside it; the image's edge counts as outside."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    inner = cv2.erode(mask.astype(np.uint8), cross, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(mask & (inner == 0))


def hd95(predicted: Bool, truth: Bool) -> float:
    """95th percentile of the boundary distances in both directions, in pixels, with exact Euclidean distances.

    0 where both masks are empty, infinite where one is.
    """
    if not predicted.any() and not truth.any():
        return 0.0
    if not predicted.any() or not truth.any():
        return math.inf
    a, b = boundary(predicted), boundary(truth)
    distances = np.concatenate([_distance_to(b)[a], _distance_to(a)[b]])
    return float(np.percentile(distances, 95))


def _distance_to(border: Bool) -> NDArray[np.float32]:
    return np.asarray(cv2.distanceTransform((~border).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE))


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

    One class: foreground is 1. Several: every class but 0, the background.
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
