"""HD95 by the protocol of the papers (arXiv 2509.00833, 2606.17972), with exact distances: one image, one class."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Bool = NDArray[np.bool_]


def boundary(mask: Bool) -> Bool:
    """Pixels of the mask with a 4-neighbour outside it, bool `[H, W]`; the image's edge counts as outside."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    inner = cv2.erode(mask.astype(np.uint8), cross, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(mask & (inner == 0))


def hd95(predicted: Bool, truth: Bool) -> float:
    """95th percentile of the boundary distances in both directions, in pixels, with exact Euclidean distances.

    Bool masks `[H, W]`. 0 where both are empty, infinite where one is.
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
