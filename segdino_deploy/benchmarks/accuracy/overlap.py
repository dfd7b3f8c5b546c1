"""Dice and IoU by the protocol of the papers (arXiv 2509.00833, 2606.17972): one image, one class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-6  # of Dice and IoU: two empty masks score 1
Bool = NDArray[np.bool_]


def dice(predicted: Bool, truth: Bool) -> float:
    """(2 |A and B| + eps) / (|A| + |B| + eps) of bool masks `[H, W]`, 0 to 1."""
    overlap = np.count_nonzero(predicted & truth)
    return (2 * overlap + EPSILON) / (np.count_nonzero(predicted) + np.count_nonzero(truth) + EPSILON)


def iou(predicted: Bool, truth: Bool) -> float:
    """(|A and B| + eps) / (|A or B| + eps) of bool masks `[H, W]`, 0 to 1."""
    return (np.count_nonzero(predicted & truth) + EPSILON) / (np.count_nonzero(predicted | truth) + EPSILON)
