"""A data set: which images with which masks, found by the names of its folders. Only paths are held."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segdino_deploy.atomic import sha256_of
from segdino_deploy.benchmarks.data.layouts import SEGDINO
from segdino_deploy.benchmarks.data.pairs import Sample, pair
from segdino_deploy.benchmarks.data.places import choose_place, find_places
from segdino_deploy.benchmarks.data.truths import check_masks
from segdino_deploy.errors import InputError, one_line
from segdino_deploy.images import list_images
from segdino_deploy.progress import OnCount, ignore


@dataclass(frozen=True)
class DataSet:
    """Images below `directory`, each with its mask or all without one."""

    directory: Path
    layout: str  # in words
    samples: Sequence[Sample]  # sorted by stem

    @property
    def has_masks(self) -> bool:
        return self.samples[0].mask is not None


def open_data_set(
    directory: Path,
    image_dir: str | None = None,
    mask_dir: str | None = None,
    foreground: Sequence[int] | None = None,
    *,
    prefer: str = "test",
) -> DataSet:
    """The split `prefer` of a data set, or its only one, in any layout of `layouts.py`; else a plain folder of images.

    `image_dir` and `mask_dir` name the folders themselves, relative to the split, with `*` for the folder of every
    video; None, and the documented names `image` and `mask`, leave it to the table. Raises InputError: no such folder,
    no images, several splits or layouts of which none can be preferred, an image without its mask or the reverse, and
    no masks at all where their folder or their `foreground` was named.
    """
    if not directory.is_dir():
        raise InputError(f"{directory}: no such folder")
    places = find_places(directory, image_dir, mask_dir)
    if places:
        place = choose_place(directory, places, prefer)
        found = DataSet(directory, place.words(directory), pair(place))
    elif image_dir not in (None, SEGDINO.image_dir):
        raise InputError(f"{directory}: has no folder {image_dir}/; --image-dir names the one that holds the images")
    else:
        found = DataSet(directory, "a folder of images", [Sample(path, None) for path in list_images(directory)])
    if not found.has_masks and (foreground is not None or mask_dir not in (None, SEGDINO.mask_dir)):
        raise InputError(
            f"{directory}: has no masks in {mask_dir or SEGDINO.mask_dir}/; name their folder with --mask-dir"
        )
    return found


def check_truths(
    data: DataSet, num_classes: int, foreground: Sequence[int] | None = None, on_mask: OnCount = ignore
) -> None:
    """Refuses masks that cannot score a model of `num_classes`, before anything is measured: see `check_masks`."""
    if data.has_masks:
        check_masks(data.samples, num_classes, foreground, on_mask)


def sample_digests(data: DataSet, on_sample: OnCount = ignore) -> list[str]:
    """Hex sha256 over the contents of image and mask of each sample, whatever their names, in order.

    Samples with the same digest have the same scores. Raises InputError where a file cannot be read.
    """
    digests: list[str] = []
    for index, sample in enumerate(data.samples):
        of_mask = "" if sample.mask is None else _sha256(sample.mask)
        digests.append(hashlib.sha256(f"{_sha256(sample.image)}\n{of_mask}\n".encode()).hexdigest())
        on_sample(index + 1, len(data.samples))
    return digests


def digest(data: DataSet, of_samples: Sequence[str]) -> str:
    """Hex sha256 over the names (relative to the data set) and the digests of all samples, in order.

    Two runs with the same digest scored the same files.
    """
    total = hashlib.sha256()
    for sample, content in zip(data.samples, of_samples, strict=True):
        for path in (sample.image, sample.mask):
            if path is not None:
                total.update(f"{Path(os.path.relpath(path, data.directory)).as_posix()}\0".encode())
        total.update(f"{content}\n".encode())
    return total.hexdigest()


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({one_line(error)})") from error
