"""What the natural-image sets are scored with beside IoU: pixel accuracy, F-beta, MAE and BER of one image.

F-beta, MAE and BER are those of mirror detection (MSD, VMD-D) and shadow detection (SBU, ViSha): one class, bool masks
`[H, W]`, each image by itself, then the mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BETA_SQUARED = 0.3  # precision weighs more than recall: Achanta et al., CVPR 2009
Bool = NDArray[np.bool_]


def pixel_accuracy(mask: NDArray[np.generic], truth: NDArray[np.generic]) -> float:
    """Share of pixels with the right class, 0 to 1; bool masks or class indices `[H, W]`."""
    return np.count_nonzero(mask == truth) / mask.size


def f_beta(predicted: Bool, truth: Bool) -> float:
    """(1 + b²) TP / ((1 + b²) TP + b² FN + FP) with b² = 0.3, 0 to 1, of the mask as it is deployed.

    Papers that search the threshold with the largest F-beta report more. Two empty masks score 1, exactly one empty
    mask 0: what the evaluation code of ViSha gives with its small constant in precision and recall, and scikit-learn
    with `zero_division=1`.
    """
    hits = (1 + BETA_SQUARED) * np.count_nonzero(predicted & truth)
    missed, wrong = np.count_nonzero(truth & ~predicted), np.count_nonzero(predicted & ~truth)
    total = hits + BETA_SQUARED * missed + wrong
    return hits / total if total else 1.0


def mae(probability: NDArray[np.floating] | Bool, truth: Bool) -> float:
    """Mean of |probability - truth|, 0 to 1. Of a 0/1 mask instead of a probability: the share of wrong pixels."""
    return float(np.mean(np.abs(probability.astype(np.float64) - truth)))


def ber(predicted: Bool, truth: Bool) -> float | None:
    """Balanced error rate in percent, as shadow detection reports it: 100 (1 - (TP / (TP + FN) + TN / (TN + FP)) / 2).

    None where the truth is all foreground or all background: one of the two shares is not defined. (Vicente et al.,
    ECCV 2016; Chen et al., CVPR 2021, whose code has a NaN there.)
    """
    foreground = np.count_nonzero(truth)
    background = truth.size - foreground
    if not foreground or not background:
        return None
    found = np.count_nonzero(predicted & truth) / foreground
    left_alone = np.count_nonzero(~predicted & ~truth) / background
    return 100 * (1 - (found + left_alone) / 2)
