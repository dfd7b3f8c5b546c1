"""Ground truth: masks as training reads them, one at a time, and what is refused before anything is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from segdino_deploy.benchmarks.data.pairs import Sample
from segdino_deploy.errors import InputError
from segdino_deploy.images import read_mask, read_rgb, resize_mask
from segdino_deploy.progress import OnCount, ignore

UInt8 = NDArray[np.uint8]
FOREGROUND_ABOVE = 127  # of one-class masks, as training binarises them (JPEG noise)
ON_THEIR_SIDE = (5, 6, 7, 8)  # EXIF orientations that swap height and width
LISTED = 8  # values that a message names


def read_truth(
    sample: Sample, size_hw: tuple[int, int], num_classes: int, foreground: Sequence[int] | None = None
) -> UInt8:
    """Ground truth at the model's size (nearest neighbour), uint8 `[H, W]`: class indices, 0/1 for one class.

    One class: every value above 127 is foreground, or exactly the values of `foreground`. Raises InputError for a mask
    of another size than its image, and where it holds a class that the model does not have.
    """
    if sample.mask is None:
        raise InputError(f"{sample.image}: has no mask")
    stored = read_mask(sample.mask)
    _check_size(sample, stored.shape[:2])
    if num_classes == 1:
        return binarise(resize_mask(stored, size_hw), foreground)
    if int(stored.max()) >= num_classes:
        raise InputError(
            f"{sample.mask}: holds the value {int(stored.max())}, the model's classes are 0 to {num_classes - 1}"
        )
    return resize_mask(stored, size_hw)


def read_truths(
    samples: Sequence[Sample], size_hw: tuple[int, int], num_classes: int, foreground: Sequence[int] | None = None
) -> list[UInt8]:
    """The truth of all samples that have a mask, all of them in memory. Raises InputError as the two it is made of."""
    with_mask = [sample for sample in samples if sample.mask is not None]
    check_masks(with_mask, num_classes, foreground)
    return [read_truth(sample, size_hw, num_classes, foreground) for sample in with_mask]


def check_masks(
    samples: Sequence[Sample], num_classes: int, foreground: Sequence[int] | None = None, on_mask: OnCount = ignore
) -> None:
    """What can be refused before anything is measured; one mask in memory at a time.

    Of all files the header is read. Of one-class masks the pixels are read up to the first that holds foreground; of
    others those of the first. Raises InputError: `foreground` for several classes; a mask of another size than its
    image; JPEG masks where exact values count; no foreground in any mask; a class that the model does not have.
    """
    if num_classes > 1 and foreground is not None:
        raise InputError(f"--foreground is for one-class models; this one has {num_classes} classes")
    exact = "the values of --foreground" if foreground is not None else "class indices" if num_classes > 1 else ""
    for index, sample in enumerate(samples):
        if sample.mask is not None:
            mask = _read_header(sample.mask)
            _check_size(sample, mask.size_hw)
            if exact and mask.is_jpeg:
                raise InputError(
                    f"{sample.mask}: is a JPEG, whose compression changes {exact}: make PNG masks of what it was made "
                    "of" + (", or leave --foreground out" if foreground is not None else "")
                )
        on_mask(index + 1, len(samples))
    if num_classes == 1:
        _check_foreground(samples, foreground)
    elif samples and samples[0].mask is not None:
        read_truth(samples[0], (1, 1), num_classes)


def binarise(mask: UInt8, foreground: Sequence[int] | None) -> UInt8:
    """0/1 mask: above 127, or exactly the named values."""
    if foreground is None:
        return (mask > FOREGROUND_ABOVE).astype(np.uint8)
    return np.isin(mask, list(foreground)).astype(np.uint8)


def _check_foreground(samples: Sequence[Sample], foreground: Sequence[int] | None) -> None:
    values: set[int] = set()
    for sample in samples:
        if sample.mask is not None:
            mask = read_mask(sample.mask)
            if binarise(mask, foreground).any():
                return
            values |= set(np.unique(mask).tolist())
    if not values:
        return
    listed = ", ".join(map(str, sorted(values)[:LISTED]))
    cure = "name the foreground's values with --foreground" if foreground is None else "name others"
    what = f"above {FOREGROUND_ABOVE}" if foreground is None else f"equal to {','.join(map(str, foreground))}"
    raise InputError(f"no mask holds a value {what} (they hold {listed}): {cure}")


@dataclass(frozen=True)
class _Header:
    size_hw: tuple[int, int]  # upright, pixels
    stored_hw: tuple[int, int]
    is_jpeg: bool


def _read_header(path: Path) -> _Header:
    """What a file says of its pixels without decoding them; InputError where it is no image."""
    try:
        with Image.open(path) as image:
            # Not image.getexif(): of PNG files it decodes all pixels to look behind them.
            orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
            stored, kind = (image.height, image.width), image.format
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        upright = read_rgb(path).shape[:2]  # raises what is wrong with it
        return _Header((upright[0], upright[1]), (upright[0], upright[1]), False)
    turned = orientation in ON_THEIR_SIDE and kind != "TIFF"  # Pillow gives TIFF files the size that they have upright
    return _Header((stored[1], stored[0]) if turned else stored, stored, kind in ("JPEG", "MPO"))


def _check_size(sample: Sample, mask_hw: tuple[int, ...]) -> None:
    """Images are read upright, so a mask must lie as its image does when that is upright."""
    image = _read_header(sample.image)
    if mask_hw == image.size_hw:
        return
    upright = read_rgb(sample.image).shape[:2]  # a header does not always tell how an image is turned
    if mask_hw == upright:
        return
    (height, width), (image_height, image_width) = mask_hw, upright
    cure = "give the mask that belongs to this image"
    if mask_hw == image.stored_hw:
        cure = "the image's EXIF orientation turns it, so turn the mask, too"
    raise InputError(
        f"{sample.mask}: is {height}x{width} pixels (height x width), its image {sample.image.name} is "
        f"{image_height}x{image_width}: {cure}"
    )
