"""An image file in, a mask file out: what clients without tensors need. The values are those of `predict`."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segdino_deploy.errors import InputError, one_line
from segdino_deploy.evidence import masks_from_outputs
from segdino_deploy.images import decode_rgb, mask_to_png_values, resize_mask, resize_rgb
from segdino_deploy.manifest import HeadCard, ModelCard
from segdino_deploy.serve.batching import Outputs
from segdino_deploy.serve.refusals import TooLarge

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")  # no other decoder ever sees a client's bytes


@dataclass(frozen=True)
class Picture:
    """An image at the model's size, and the size that its mask gets."""

    sized: NDArray[np.uint8]  # [1, H, W, 3]
    source_size: tuple[int, int]  # H, W


def read_picture(data: bytes, card: ModelCard, max_pixels: int) -> Picture:
    """An encoded image, at the model's size. The limit is compared with the file's header, before anything is decoded.

    Raises TooLarge, and InputError for another format, a damaged file and more than 8 bits, as `predict` does.
    """
    try:
        rgb = decode_rgb(io.BytesIO(data), "the image", formats=FORMATS, max_pixels=max_pixels)
    except InputError as error:
        if isinstance(error.__cause__, Image.DecompressionBombError):
            raise TooLarge(f"the image: {one_line(error.__cause__)}") from error
        raise
    return Picture(resize_rgb(rgb, card.input_size, card.resize_filter)[None], (rgb.shape[0], rgb.shape[1]))


def write_mask(outputs: Outputs, head: HeadCard, source_size: tuple[int, int]) -> bytes:
    """The mask of one head as a PNG at the source's size: 0/255 for one class, class indices for several."""
    mask = masks_from_outputs(outputs, {head.name: head.threshold})[head.name]
    buffer = io.BytesIO()
    values = mask_to_png_values(resize_mask(mask[0], source_size), head.num_classes)
    Image.fromarray(values).save(buffer, format="PNG")
    return buffer.getvalue()
