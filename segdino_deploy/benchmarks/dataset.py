"""Data set folders: `DIR/image/*` and `DIR/mask/*` with equal stems, or the same below a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.errors import InputError
from segdino_deploy.images import list_images, read_mask, resize_mask

FOREGROUND_ABOVE = 127  # of one-class masks, as training binarises them (JPEG noise)


@dataclass(frozen=True)
class Sample:
    """One image with its mask, or without one where the folder holds images only."""

    image: Path
    mask: Path | None


def find_split(directory: Path, image_dir: str = "image", prefer: str = "test") -> Path:
    """The folder that holds `image_dir`: `directory` itself or its split `prefer`, or its only split.

    InputError where there is none, or several and none is `prefer`.
    """
    if not directory.is_dir():
        raise InputError(f"{directory}: no such folder")
    if (directory / image_dir).is_dir():
        return directory
    splits = sorted(entry for entry in directory.iterdir() if (entry / image_dir).is_dir())
    if len(splits) == 1:
        return splits[0]
    for split in splits:
        if split.name == prefer:
            return split
    found = (
        f"has the splits {', '.join(split.name for split in splits)}: name one" if splits else f"has no {image_dir}/"
    )
    raise InputError(f"{directory}: {found}")


def find_samples(directory: Path, image_dir: str = "image", mask_dir: str = "mask") -> list[Sample]:
    """All pairs of a data set folder, sorted by stem; images alone where the folder has no masks at all.

    Raises InputError: no images, a mask without its image, an image without its mask, two files with one stem.
    """
    if directory.is_dir() and not (directory / image_dir).is_dir():
        try:
            directory = find_split(directory, image_dir)
        except InputError:
            if any((directory / sub / image_dir).is_dir() for sub in _sub_folders(directory)):
                raise
            if image_dir != "image":
                raise InputError(
                    f"{directory}: has no folder {image_dir}/; --image-dir names the one that holds the images"
                ) from None
            return [Sample(image, None) for image in list_images(directory)]  # a plain folder of images
    split = find_split(directory, image_dir)
    images = _by_stem(split / image_dir)
    if not (split / mask_dir).is_dir():
        return [Sample(images[stem], None) for stem in sorted(images)]
    masks = _by_stem(split / mask_dir)
    for stem in sorted(masks.keys() - images.keys()):
        raise InputError(f"{masks[stem]}: is a mask without its image in {split / image_dir}")
    for stem in sorted(images.keys() - masks.keys()):
        raise InputError(f"{images[stem]}: is an image without its mask in {split / mask_dir}")
    return [Sample(images[stem], masks[stem]) for stem in sorted(images)]


def _sub_folders(directory: Path) -> list[str]:
    return [entry.name for entry in directory.iterdir() if entry.is_dir()]


def _by_stem(directory: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in list_images(directory):
        stem = path.relative_to(directory).with_suffix("").as_posix()
        if stem in found:
            raise InputError(f"{path}: {found[stem].name} has the same stem; keep one of them")
        found[stem] = path
    return found


def read_truths(
    samples: Sequence[Sample], size_hw: tuple[int, int], num_classes: int, foreground: Sequence[int] | None = None
) -> list[NDArray[np.uint8]]:
    """One head's ground truth at the model's size, a uint8 `[H, W]` per sample: class indices, 0/1 for one class.

    One class: every value above 127 is foreground, or exactly the values of `foreground`. Raises InputError where a
    one-class run has no foreground at all, or where a mask holds a class that the model does not have.
    """
    stored = [read_mask(sample.mask) for sample in samples if sample.mask is not None]
    sized = [resize_mask(mask, size_hw) for mask in stored]
    if num_classes == 1:
        truths = [binarise(mask, foreground) for mask in sized]
        if not any(binarise(mask, foreground).any() for mask in stored):
            values = sorted({int(value) for mask in stored for value in np.unique(mask)})[:8]
            cure = "name the foreground's values with --foreground" if foreground is None else "name others"
            what = f"above {FOREGROUND_ABOVE}" if foreground is None else f"equal to {','.join(map(str, foreground))}"
            raise InputError(f"no mask holds a value {what} (they hold {', '.join(map(str, values))}): {cure}")
        return truths
    if foreground is not None:
        raise InputError(f"--foreground is for one-class models; this one has {num_classes} classes")
    for sample, mask in zip(samples, stored, strict=True):
        if int(mask.max()) >= num_classes:
            raise InputError(
                f"{sample.mask}: holds the value {int(mask.max())}, the model's classes are 0 to {num_classes - 1}"
            )
    return sized


def binarise(mask: NDArray[np.uint8], foreground: Sequence[int] | None) -> NDArray[np.uint8]:
    """0/1 mask: above 127, or exactly the named values."""
    if foreground is None:
        return (mask > FOREGROUND_ABOVE).astype(np.uint8)
    return np.isin(mask, list(foreground)).astype(np.uint8)
