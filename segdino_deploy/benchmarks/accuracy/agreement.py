"""How far an engine's mask is the reference's: one image, class indices, no truth needed."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segdino_deploy.evidence import mask_agreement

BAND_PX = 3  # half width of the boundary band
Mask = NDArray[np.uint8]


def band_agreement(mask: Mask, reference: Mask) -> float | None:
    """Share of pixels with the reference's class, 0 to 1, among those near a change of class in the reference's mask.

    None where that mask has one class only. An image is mostly pixels that no engine gets wrong; what changes,
    changes here.
    """
    band = boundary_band(reference)
    return mask_agreement(mask[band], reference[band]) if band.any() else None


def boundary_band(mask: Mask) -> NDArray[np.bool_]:
    """Pixels within `BAND_PX` of a change of class, bool `[H, W]`."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * BAND_PX + 1, 2 * BAND_PX + 1))
    return np.asarray(cv2.dilate(mask, kernel) != cv2.erode(mask, kernel))
