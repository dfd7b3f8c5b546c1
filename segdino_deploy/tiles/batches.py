"""Batches of tiles through an engine, the next one prepared while one is computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from segdino_deploy.engines.run.contract import Runner, run_padded
from segdino_deploy.evidence import Outputs, outputs_of, probability_from_logits
from segdino_deploy.images import resize_rgb
from segdino_deploy.manifest import ModelCard
from segdino_deploy.tiles.grid import Float, Grid
from segdino_deploy.tiles.rows import UInt8


@dataclass(frozen=True)
class Place:
    """Of a tile in its grid."""

    row: int
    column: int


@dataclass(frozen=True)
class TileBatch:
    places: list[Place]
    image_nhwc: UInt8  # at the model's size


def make_batches(bands: Iterable[UInt8], grid: Grid, card: ModelCard, size: int) -> Iterator[TileBatch]:
    """The tiles of all bands, row by row, `size` at a time whether a row ends in between or not."""
    places: list[Place] = []
    tiles: list[UInt8] = []
    for row, band in enumerate(bands):
        for column, left in enumerate(grid.columns.starts):
            tile = band[:, left : left + grid.columns.tile]
            fits = grid.tile_hw == card.input_size
            places.append(Place(row, column))
            tiles.append(tile.copy() if fits else resize_rgb(tile, card.input_size, card.resize_filter))
            if len(tiles) == size:
                yield TileBatch(places, np.stack(tiles))
                places, tiles = [], []
    if tiles:
        yield TileBatch(places, np.stack(tiles))


def run_batches(runner: Runner, batches: Iterable[TileBatch]) -> Iterator[tuple[TileBatch, Outputs]]:
    """Every batch with what the engine answers, in order. At most two of them are under way."""

    def run(batch: TileBatch) -> Outputs:
        return run_padded(runner, batch.image_nhwc)

    waiting: deque[tuple[TileBatch, Future[Outputs]]] = deque()

    def take() -> tuple[TileBatch, Outputs]:
        batch, future = waiting.popleft()
        return batch, future.result()

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="tiles") as engine:
        for batch in batches:
            waiting.append((batch, engine.submit(run, batch)))
            if len(waiting) == 2:
                yield take()
        while waiting:
            yield take()


def probability_of(outputs: Outputs, head: str, index: int, tile_hw: tuple[int, int]) -> Float:
    """One head's answer for one image of the batch, at the tile's size: float32 `[C, tile height, tile width]`."""
    own = outputs_of(outputs, head)
    if "probability" in own:
        probability = np.asarray(own["probability"][index], np.float32)
    else:
        probability = probability_from_logits(np.asarray(own["logits"][index : index + 1], np.float32))[0]
    return resize_probability(probability, tile_hw)


def resize_probability(probability: Float, size_hw: tuple[int, int]) -> Float:
    """`[C, h, w]` to `[C, H, W]`, bilinear between pixel centres."""
    if probability.shape[1:] == size_hw:
        return probability
    import cv2

    height, width = size_hw
    planes = [cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR) for plane in probability]
    return np.stack(planes).astype(np.float32, copy=False)
