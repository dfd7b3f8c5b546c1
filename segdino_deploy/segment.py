"""From an image file to its masks: what predict, bench and the demo share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.engines.run.contract import Runner, run_padded
from segdino_deploy.evidence import masks_from_outputs
from segdino_deploy.images import read_rgb, resize_mask, resize_rgb
from segdino_deploy.manifest import ModelCard


def load_input(path: Path, card: ModelCard) -> NDArray[np.uint8]:
    """An image file at the model's size, uint8 `[H, W, 3]`."""
    return resize_rgb(read_rgb(path), card.input_size, card.resize_filter)


def segment_file(runner: Runner, path: Path) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.uint8]]]:
    """Image file to (image `[H, W, 3]`, mask `[H, W]` by head), all at source size."""
    image = read_rgb(path)
    card = runner.card
    sized = resize_rgb(image, card.input_size, card.resize_filter)
    masks = masks_from_outputs(run_padded(runner, sized[None]), card.thresholds)
    return image, {head: resize_mask(mask[0], (image.shape[0], image.shape[1])) for head, mask in masks.items()}
