"""One image: file to the engine's input, and masks to files. What folders and clusters share."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segdino_deploy.atomic import sha256_of
from segdino_deploy.errors import SegdinoDeployError
from segdino_deploy.folders.jobs import result_names
from segdino_deploy.folders.reading import reading
from segdino_deploy.folders.records import HeadResult, ImageResult, printable
from segdino_deploy.images import mask_to_png_values, overlay, read_rgb, resize_mask, resize_rgb
from segdino_deploy.manifest import ModelCard

UInt8 = NDArray[np.uint8]
# Of overlays, whose encoding costs more than everything else about an image but the engine: on MRI slices less than
# half the time of zlib's usual 6, for files of the same size.
OVERLAY_LEVEL = 2


@dataclass(frozen=True)
class Decoded:
    """An image at the model's size, and what is known of its file."""

    sized: UInt8  # [H, W, 3]
    source: UInt8 | None  # [H, W, 3] at its own size, where an overlay is to be made of it
    result: ImageResult  # without heads as yet


@dataclass(frozen=True)
class Finished:
    """The files of one image, not written yet, by their names below the output folder."""

    result: ImageResult
    files: dict[str, bytes]


def decode_image(path: Path, name: str, card: ModelCard, keeps_source: bool) -> Decoded:
    """An image file at the model's size. Raises ImageFailed, whatever the file's decoder stumbles over."""
    with reading(path):
        status = path.stat()
        sha256 = sha256_of(path)
        start = perf_counter()
        image = read_rgb(path)
        decoded = perf_counter()
        sized = resize_rgb(image, card.input_size, card.resize_filter)
        resized = perf_counter()
    result = ImageResult(
        image=printable(name),
        status="ok",
        sha256=sha256,
        size_bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        width=image.shape[1],
        height=image.shape[0],
        decode_ms=_milliseconds(start, decoded),
        resize_ms=_milliseconds(decoded, resized),
    )
    return Decoded(sized, image if keeps_source else None, result)


def finish_image(
    name: str, decoded: Decoded, masks: Mapping[str, UInt8], run_ms: float, card: ModelCard, source: UInt8 | None
) -> Finished:
    """The files of one image. `masks`: `[H, W]` of the model's size, by head. `source`: the image at its own size,
    uint8 `[H, W, 3]`, for overlays; None: none are made.
    """
    start = perf_counter()
    assert decoded.result.height is not None and decoded.result.width is not None
    source_hw = (decoded.result.height, decoded.result.width)
    files: dict[str, bytes] = {}
    heads: list[HeadResult] = []
    for head in card.heads:
        mask = resize_mask(masks[head.name], source_hw)
        mask_name, overlay_name = result_names(name, head.name)
        files[mask_name] = encode_png(mask_to_png_values(mask, head.num_classes))
        if source is not None:
            files[overlay_name] = encode_png(overlay(source, mask), OVERLAY_LEVEL)
        heads.append(
            HeadResult(
                head=head.name,
                mask=printable(mask_name),
                mask_sha256=hashlib.sha256(files[mask_name]).hexdigest(),
                mask_bytes=len(files[mask_name]),
                overlay=None if source is None else printable(overlay_name),
                overlay_bytes=None if source is None else len(files[overlay_name]),
                pixels=count_pixels(mask),
            )
        )
    times = {"run_ms": round(run_ms, 3), "finish_ms": _milliseconds(start, perf_counter())}
    return Finished(decoded.result.model_copy(update={"heads": heads, **times}), files)


def failed_result(name: str, error: SegdinoDeployError, path: Path | None = None) -> ImageResult:
    """The record of an image that failed, with what its file still tells."""
    sha256, size_bytes = None, None
    if path is not None:
        with suppress(OSError):
            sha256, size_bytes = sha256_of(path), path.stat().st_size
    return ImageResult(
        image=printable(name), status="failed", error=printable(str(error)), sha256=sha256, size_bytes=size_bytes
    )


def count_pixels(mask: UInt8) -> dict[int, int]:
    """Pixels of the values that occur."""
    return {value: int(count) for value, count in enumerate(np.bincount(mask.ravel())) if count}


def encode_png(image: UInt8, level: int = 6) -> bytes:
    """uint8 `[H, W]` or `[H, W, 3]`; without a `level` (of zlib, 0 to 9), the bytes that `images.write_png` writes."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=level)
    return buffer.getvalue()


def _milliseconds(start: float, end: float) -> float:
    return round((end - start) * 1e3, 3)
