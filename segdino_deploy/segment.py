"""From an image file to its masks: what predict, bench and the demo share."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.engines.run.contract import Runner, run_padded
from segdino_deploy.evidence import masks_from_outputs
from segdino_deploy.images import read_rgb, resize_mask, resize_rgb
from segdino_deploy.manifest import ModelCard


def load_input(path: Path, card: ModelCard) -> NDArray[np.uint8]:
    """An image file at the model's size, uint8 `[H, W, 3]`."""
    return resize_rgb(read_rgb(path), card.input_size, card.resize_filter)


@dataclass(frozen=True)
class StageTimes:
    """Milliseconds of one image from its file to its masks."""

    decode_ms: float  # file to RGB
    resize_ms: float  # to the model's size
    run_ms: float  # the array to masks of the model's size
    resize_back_ms: float  # masks to the source's size

    @property
    def total_ms(self) -> float:
        return self.decode_ms + self.resize_ms + self.run_ms + self.resize_back_ms


def segment_file(runner: Runner, path: Path) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.uint8]]]:
    """Image file to (image `[H, W, 3]`, mask `[H, W]` by head), all at source size."""
    image, masks, _ = segment_file_timed(runner, path)
    return image, masks


def segment_file_timed(
    runner: Runner, path: Path
) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.uint8]], StageTimes]:
    """As `segment_file`, and how long each stage of it took."""
    card = runner.card
    marks = [perf_counter()]
    image = read_rgb(path)
    marks.append(perf_counter())
    sized = resize_rgb(image, card.input_size, card.resize_filter)
    marks.append(perf_counter())
    masks = masks_from_outputs(run_padded(runner, sized[None]), card.thresholds)
    marks.append(perf_counter())
    source_size = (image.shape[0], image.shape[1])
    resized = {head: resize_mask(mask[0], source_size) for head, mask in masks.items()}
    marks.append(perf_counter())
    stages_ms = [(end - start) * 1e3 for start, end in pairwise(marks)]
    return image, resized, StageTimes(*stages_ms)
