"""Overlays of images that are too large for one: image and mask reduced by a whole number while they pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from segdino_deploy.images import overlay
from segdino_deploy.tiles.rows import UInt8

MAX_PIXELS = 2**23  # of an overlay: a 4K frame is shown as it is


class Overview:
    """Collects rows of the image and of each head's mask, and paints overlays of at most `MAX_PIXELS`."""

    def __init__(self, size_hw: tuple[int, int], heads: Iterable[str]) -> None:
        height, width = size_hw
        self.factor = min(math.ceil(math.sqrt(height * width / MAX_PIXELS)), height, width)
        reduced_hw = (height // self.factor, width // self.factor)
        self._image = _Reduced((*reduced_hw, 3), self.factor, _mean)
        self._masks = {head: _Reduced(reduced_hw, self.factor, _nearest) for head in heads}

    def add_image(self, rows: UInt8) -> None:
        """The next rows, uint8 `[n, W, 3]`."""
        self._image.add(rows)

    def add_mask(self, head: str, rows: UInt8) -> None:
        """The next rows of a head's mask, uint8 `[n, W]`."""
        self._masks[head].add(rows)

    def picture(self, head: str) -> UInt8:
        """uint8 `[H // factor, W // factor, 3]`, once all rows have passed."""
        return overlay(self._image.pixels, self._masks[head].pixels)


class _Reduced:
    """An array that grows row by row; the rest of rows and columns beyond whole blocks is left out."""

    def __init__(self, shape: tuple[int, ...], factor: int, reduce: Callable[[UInt8, int], UInt8]) -> None:
        self.pixels = np.zeros(shape, np.uint8)
        self._factor = factor
        self._reduce = reduce
        self._top = 0
        self._waiting: UInt8 | None = None  # rows of a block that is not whole yet

    def add(self, rows: UInt8) -> None:
        if self._waiting is not None:
            rows = np.concatenate([self._waiting, rows])
        count = len(rows) // self._factor
        used = count * self._factor
        if count and self._top < len(self.pixels):
            blocks = rows[:used, : self.pixels.shape[1] * self._factor]
            self.pixels[self._top : self._top + count] = self._reduce(blocks, self._factor)
            self._top += count
        self._waiting = rows[used:].copy() if used < len(rows) else None


def _mean(rows: UInt8, factor: int) -> UInt8:
    import cv2

    height, width = rows.shape[0] // factor, rows.shape[1] // factor
    return np.asarray(cv2.resize(rows, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _nearest(rows: UInt8, factor: int) -> UInt8:
    return rows[factor // 2 :: factor, factor // 2 :: factor]
