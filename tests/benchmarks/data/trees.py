"""Small data sets on disk, with real image files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

UInt8 = NDArray[np.uint8]
SIZE_HW = (24, 40)


def blob(size_hw: tuple[int, int] = SIZE_HW) -> NDArray[np.bool_]:
    """An ellipse whose edge crosses the 8x8 blocks of a JPEG, bool `[H, W]`."""
    height, width = size_hw
    y, x = np.mgrid[:height, :width]
    return np.asarray(((y - height / 2) / (height / 3)) ** 2 + ((x - width / 2) / (width / 3)) ** 2 < 1)


def write_image(path: Path, size_hw: tuple[int, int] = SIZE_HW) -> Path:
    """Noise that depends on the file's name, RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(list(path.name.encode())).integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_mask(path: Path, mask: UInt8 | None = None) -> Path:
    """Grey, 0/255 where nothing else is given; JPEG with quality 60, so that it is noisy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (blob() * 255).astype(np.uint8) if mask is None else mask
    Image.fromarray(pixels).save(path, quality=60)  # which PNG does not know
    return path


def write_tree(directory: Path, pairs: dict[str, str | None]) -> None:
    """Image files by name with the name of their masks."""
    for image, mask in pairs.items():
        write_image(directory / image)
        if mask is not None:
            write_mask(directory / mask)
