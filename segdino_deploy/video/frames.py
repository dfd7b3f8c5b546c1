"""One frame: to the engine's input, and to what is written of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.images import palette, resize_rgb
from segdino_deploy.manifest import ModelCard

UInt8 = NDArray[np.uint8]


def to_input(bgr: UInt8, card: ModelCard) -> UInt8:
    """BGR `[H, W, 3]` to RGB `[h, w, 3]` of the model's size; exact, for the resizing does not mix channels."""
    return np.ascontiguousarray(resize_rgb(bgr, card.input_size, card.resize_filter)[..., ::-1])


def to_size(bgr: UInt8, size_hw: tuple[int, int]) -> UInt8:
    """A frame that changed its size within the stream, `[H, W, 3]`, at the size of the first."""
    import cv2

    return np.asarray(cv2.resize(bgr, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def tint(bgr: UInt8, mask: UInt8, opacity: float = 0.45) -> UInt8:
    """What `images.overlay` paints, up to one level, fast enough for every frame: BGR `[H, W, 3]`, mask `[H, W]`."""
    import cv2

    out = bgr.copy()
    left, top, width, height = cv2.boundingRect(mask)
    if not width:
        return out
    inside = np.s_[top : top + height, left : left + width]
    region, classes = out[inside], np.ascontiguousarray(mask[inside])
    colours = np.zeros((256, 3), dtype=np.uint8)
    highest = int(classes.max())
    colours[1 : highest + 1] = palette(highest)[:, ::-1]  # RGB -> BGR
    painted = colours[classes]  # [h, w] -> [h, w, 3]
    mixed = cv2.addWeighted(region, 1 - opacity, painted, opacity, 0)
    square = np.ones((3, 3), np.uint8)
    # the outline of a class: where a neighbour is of another, or of none
    is_edge = (cv2.erode(classes, square, borderValue=0) != classes) | (cv2.dilate(classes, square) != classes)
    cv2.copyTo(painted, is_edge.astype(np.uint8), mixed)
    cv2.copyTo(mixed, classes, region)
    out[inside] = region
    return out


def to_even(frame: UInt8) -> UInt8:
    """`[H, W]` or `[H, W, 3]` with its last row and column repeated where their number is odd.

    OpenCV's video files have even sizes, and it would cut the last row and column off.
    """
    import cv2

    bottom, right = frame.shape[0] % 2, frame.shape[1] % 2
    if not bottom and not right:
        return frame
    padded = cv2.copyMakeBorder(frame, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    return np.asarray(padded, dtype=np.uint8)
