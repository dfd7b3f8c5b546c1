"""Calibration images: which files, in which order, at the model's size."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.atomic import sha256_of
from segdino_deploy.images import list_images
from segdino_deploy.manifest import ModelCard
from segdino_deploy.progress import OnCount, ignore
from segdino_deploy.segment import load_input


def calibration_files(directory: Path, image_dir: str = "image") -> list[Path]:
    """The images of a folder, of a data set's `image` folder, or of its `train` split. InputError where none is."""
    for folder in (directory / image_dir, directory / "train" / image_dir):
        if folder.is_dir():
            return list_images(folder)
    return list_images(directory)


def stream_batches(files: Sequence[Path], card: ModelCard, on_image: OnCount = ignore) -> Iterator[NDArray[np.uint8]]:
    """uint8 `[N, H, W, 3]`, N the smallest batch of the model; the last batch is filled up with its last image."""
    batch: list[NDArray[np.uint8]] = []
    for index, file in enumerate(files):
        batch.append(load_input(file, card))
        if index == len(files) - 1:
            batch.extend([batch[-1]] * (card.batch.min - len(batch)))
        if len(batch) == card.batch.min:
            yield np.stack(batch)
            batch.clear()
        on_image(index + 1, len(files))


def images_hash(files: Sequence[Path]) -> str:
    """One sha256 over the images' own hashes, in order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(sha256_of(file).encode())
    return digest.hexdigest()
