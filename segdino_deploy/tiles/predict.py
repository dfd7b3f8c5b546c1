"""Segmenting a large image file: its masks and an overlay on disk, in bounded memory."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from segdino_deploy.engines.run.contract import Runner
from segdino_deploy.errors import InputError
from segdino_deploy.images import mask_to_png_values, write_png
from segdino_deploy.manifest import ModelCard
from segdino_deploy.predict import Job, Prediction, Target
from segdino_deploy.progress import OnCount, ignore
from segdino_deploy.tiles.file_rows import open_rows
from segdino_deploy.tiles.formats import SUFFIXES, default_format
from segdino_deploy.tiles.mask_file import MaskFile
from segdino_deploy.tiles.options import MaskFormat, TileOptions, wants_tiles
from segdino_deploy.tiles.overview import Overview
from segdino_deploy.tiles.plan import make_plan
from segdino_deploy.tiles.rows import RowSource
from segdino_deploy.tiles.segment import mask_rows


def open_if_large(path: Path, card: ModelCard, options: TileOptions) -> RowSource | None:
    """The rows of an image that `--mode tile` tiles; None: it is to be segmented whole. Raises InputError."""
    source = open_rows(path)
    return source if wants_tiles(source.size_hw, card, options) else None


def predict_tiled(
    runner: Runner,
    job: Job,
    options: TileOptions = TileOptions(),
    on_tiles: OnCount = ignore,
    source: RowSource | None = None,
    overlay: bool = True,
) -> list[Prediction]:
    """Writes mask and overlay of every head of one image, whatever its size. `source`: its rows, where they are open.

    A mask is a PNG as of any image, or a tiled TIFF, then with the suffix .tif: see `formats.default_format`. Overlays
    are reduced by a whole number to `overview.MAX_PIXELS` at most. No mask gets its name before all are finished.
    Raises InputError: an image that cannot be read, a model that gives masks only, options that do not fit, no
    permission to write; OSError: a name that is too long; MissingComponent without pyvips or tifffile;
    SegdinoDeployError: no space left, or an engine that failed. Then no mask is written.
    """
    source = source or open_rows(job.image)
    plan = make_plan(source.size_hw, runner.card, options)
    mask_format = options.mask_format or default_format(source.size_hw)
    targets = [_with_format(target, mask_format, job.image) for target in job.targets]
    num_classes = {head.name: head.num_classes for head in runner.card.heads}
    pixels = {target.head: np.zeros(256, np.int64) for target in targets}
    overview = Overview(source.size_hw, pixels) if overlay else None
    on_rows = overview.add_image if overview else ignore
    with ExitStack() as stack:
        files = {t.head: stack.enter_context(MaskFile(t.mask, source.size_hw, mask_format)) for t in targets}
        for masks in mask_rows(runner, source, plan, on_tiles, on_rows):
            for head, file in files.items():
                file.append(mask_to_png_values(masks[head], num_classes[head]))
                if overview:
                    overview.add_mask(head, masks[head])
                pixels[head] += np.bincount(masks[head].ravel(), minlength=256)
        for file in files.values():
            file.finish()
        if overview:
            for target in targets:
                write_png(target.overlay, overview.picture(target.head))
        for file in files.values():
            file.publish()
    return [Prediction(job.image, target, _counts(pixels[target.head])) for target in targets]


def _with_format(target: Target, mask_format: MaskFormat, image: Path) -> Target:
    """The planned target under its format's suffix. InputError where that is the image itself."""
    mask = target.mask.with_suffix(SUFFIXES[mask_format])
    if mask.resolve() == image.resolve():
        raise InputError(f"{image}: its result {mask} would overwrite it; choose another -o")
    return dataclasses.replace(target, mask=mask)


def _counts(pixels: np.ndarray[tuple[int], np.dtype[np.int64]]) -> dict[int, int]:
    """Pixels of the values that occur."""
    return {value: int(count) for value, count in enumerate(pixels) if count}
