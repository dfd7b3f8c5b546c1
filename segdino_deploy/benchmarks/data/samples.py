"""The pairs of a data set as a list, and its masks: what callers need that read few images."""

from __future__ import annotations

from pathlib import Path

from segdino_deploy.benchmarks.data.data_set import open_data_set
from segdino_deploy.benchmarks.data.pairs import Sample
from segdino_deploy.benchmarks.data.truths import FOREGROUND_ABOVE, binarise, read_truth, read_truths

__all__ = ["FOREGROUND_ABOVE", "Sample", "binarise", "find_samples", "read_truth", "read_truths"]


def find_samples(directory: Path, image_dir: str = "image", mask_dir: str = "mask") -> list[Sample]:
    """All pairs of a data set folder, sorted by stem; images alone where the folder has no masks at all.

    Raises InputError as `open_data_set` does.
    """
    return list(open_data_set(directory, image_dir, mask_dir).samples)
