"""Masks as tiled TIFF and PNG, encoded by libraries that hold a few rows at a time."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np

from segdino_deploy.atomic import is_no_space
from segdino_deploy.errors import SegdinoDeployError, one_line
from segdino_deploy.requirements import require_module
from segdino_deploy.tiles.options import MaskFormat
from segdino_deploy.tiles.rows import UInt8

TILE = 256  # pixels of a side: what viewers of large images expect
BIG_TIFF_PIXELS = 2**31  # from here on a file may pass the 4 GiB that classic TIFF can address
PNG_PIXELS = 89_478_485  # what Pillow opens without a warning
SUFFIXES: dict[MaskFormat, str] = {"png": ".png", "tiff": ".tif"}


def default_format(size_hw: tuple[int, int]) -> MaskFormat:
    """PNG, as of all other masks, as long as any program opens it; else TIFF, of which programs read what they show."""
    return "png" if size_hw[0] * size_hw[1] <= PNG_PIXELS else "tiff"


def write_tiff(file: BinaryIO, rows: Iterable[UInt8], size_hw: tuple[int, int]) -> None:
    """Rows uint8 `[n, W]`, from top to bottom, as a deflated TIFF of tiles; as BigTIFF where it may need to be one."""
    tifffile: Any = require_module("tifffile", "masks of large images", extra="large")
    with tifffile.TiffWriter(file, bigtiff=size_hw[0] * size_hw[1] >= BIG_TIFF_PIXELS) as writer:
        writer.write(
            _tiles(rows),
            shape=size_hw,
            dtype=np.uint8,
            tile=(TILE, TILE),
            compression="adobe_deflate",
            photometric="minisblack",
            metadata=None,
            maxworkers=1,
        )


def _tiles(rows: Iterable[UInt8]) -> Iterator[UInt8]:
    """`[TILE, TILE]` in the order of the file; those at the right and at the bottom are smaller."""
    waiting: list[UInt8] = []
    count = 0
    for piece in rows:
        waiting.append(piece)
        count += len(piece)
        if count >= TILE:
            block = np.concatenate(waiting)
            for top in range(0, count - count % TILE, TILE):
                yield from _cut(block[top : top + TILE])
            count %= TILE
            waiting = [block[len(block) - count :]]
    if count:
        yield from _cut(np.concatenate(waiting))


def _cut(strip: UInt8) -> Iterator[UInt8]:
    for left in range(0, strip.shape[1], TILE):
        yield strip[:, left : left + TILE]


def tiff_to_png(tiff: BinaryIO, png: BinaryIO) -> None:
    """A grey TIFF as PNG. Raises OSError where no space is left."""
    vips: Any = require_module("pyvips", "masks of large images", extra="large")
    tiff.flush()
    source = vips.Source.new_from_descriptor(tiff.fileno())
    target = vips.Target.new_to_descriptor(png.fileno())
    try:
        vips.Image.new_from_source(source, "", access="sequential").pngsave_target(target, keep="none")
    except vips.Error as error:
        if is_no_space(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise SegdinoDeployError(f"libvips cannot make a PNG of the mask: {one_line(error)}") from error
