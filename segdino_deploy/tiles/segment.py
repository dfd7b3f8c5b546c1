"""From rows of an image to rows of its masks, by way of blended tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from segdino_deploy.engines.run.contract import Runner
from segdino_deploy.evidence import mask_from_probability
from segdino_deploy.progress import OnCount, ignore
from segdino_deploy.tiles.batches import make_batches, probability_of, run_batches
from segdino_deploy.tiles.blend import Blender
from segdino_deploy.tiles.grid import Float
from segdino_deploy.tiles.options import TileOptions
from segdino_deploy.tiles.plan import TilePlan, make_plan
from segdino_deploy.tiles.rows import ArrayRows, RowSource, UInt8, read_bands


def segment_tiled(
    runner: Runner, image: UInt8, options: TileOptions = TileOptions(), on_tiles: OnCount = ignore
) -> dict[str, UInt8]:
    """uint8 `[H, W, 3]` to masks uint8 `[H, W]` by head, as `predict --mode tile` writes them.

    Raises InputError as `plan.make_plan` does.
    """
    plan = make_plan((image.shape[0], image.shape[1]), runner.card, options)
    parts: dict[str, list[UInt8]] = {head.name: [] for head in runner.card.heads}
    for masks in mask_rows(runner, ArrayRows(image), plan, on_tiles):
        for head, rows in masks.items():
            parts[head].append(rows)
    return {head: np.concatenate(rows) for head, rows in parts.items()}


def mask_rows(
    runner: Runner,
    source: RowSource,
    plan: TilePlan,
    on_tiles: OnCount = ignore,
    on_rows: Callable[[UInt8], object] = ignore,
) -> Iterator[dict[str, UInt8]]:
    """The masks' rows by head, uint8 `[rows, W]`, from top to bottom, as soon as no later tile reaches them.

    `on_tiles`: tiles done, and all. `on_rows` sees the image's rows, before any mask of them is there.
    """
    thresholds = runner.card.thresholds
    for probabilities in probability_rows(runner, source, plan, on_tiles, on_rows):
        yield {head: mask_from_probability(p[None], thresholds[head])[0] for head, p in probabilities.items()}


def probability_rows(
    runner: Runner,
    source: RowSource,
    plan: TilePlan,
    on_tiles: OnCount = ignore,
    on_rows: Callable[[UInt8], object] = ignore,
) -> Iterator[dict[str, Float]]:
    """As `mask_rows`, before the classes are decided: float32 `[C, rows, W]` by head."""
    grid = plan.grid
    blenders = {head.name: Blender(grid, head.num_classes) for head in runner.card.heads}
    batches = make_batches(read_bands(source, grid, on_rows), grid, runner.card, plan.batch_size)
    done = 0
    on_tiles(done, grid.num_tiles)
    for batch, outputs in run_batches(runner, batches):
        for index, place in enumerate(batch.places):
            for head, blender in blenders.items():
                blender.add(place.row, place.column, probability_of(outputs, head, index, grid.tile_hw))
            if place.column + 1 == len(grid.columns.starts):
                yield {head: blender.finish_row(place.row) for head, blender in blenders.items()}
        done += len(batch.places)
        on_tiles(done, grid.num_tiles)
