"""What tiling one image takes: checked before anything is read or written."""

from __future__ import annotations

from dataclasses import dataclass

from segdino_deploy.errors import InputError
from segdino_deploy.manifest import ModelCard
from segdino_deploy.tiles.grid import Grid, make_grid
from segdino_deploy.tiles.options import TileOptions, format_size

MAX_BAND_BYTES = 4 * 2**30  # of what is held for a row of tiles; a file's header must not be able to ask for more


@dataclass(frozen=True)
class TilePlan:
    grid: Grid
    batch_size: int  # tiles in one call of the engine


def make_plan(image_hw: tuple[int, int], card: ModelCard, options: TileOptions) -> TilePlan:
    """Raises InputError as `check_options` does, and for an image too wide for such tiles."""
    check_options(card, options)
    tile_hw = options.size_for(card)
    _check_memory(image_hw, tile_hw, card)
    return TilePlan(make_grid(image_hw, tile_hw, options.overlap_for(card)), options.batch_for(card))


def check_options(card: ModelCard, options: TileOptions) -> None:
    """What holds for every image: InputError where a head gives masks only, which cannot be blended, and where the
    model cannot take the overlap or the batch.
    """
    for head in card.heads:
        if not {"probability", "logits"} & set(head.outputs):
            whose = f"the head {head.name} gives" if head.name else "this model gives"
            raise InputError(
                f"--mode tile: {whose} masks only, which cannot be blended; export it again with "
                "--outputs mask,probability"
            )
    options.overlap_for(card)
    options.batch_for(card)


def _check_memory(image_hw: tuple[int, int], tile_hw: tuple[int, int], card: ModelCard) -> None:
    """InputError where the band of rows that a row of tiles needs would not fit into a reasonable memory."""
    classes = sum(head.num_classes for head in card.heads)
    width = max(image_hw[1], tile_hw[1])
    band_bytes = tile_hw[0] * width * (3 + 4 * classes) * 2  # pixels and float32 sums, each with its rows in transit
    if band_bytes > MAX_BAND_BYTES:
        raise InputError(
            f"--tile: a row of {format_size(tile_hw)} tiles across {width} pixels takes {band_bytes / 2**30:.1f} GiB, "
            f"more than {MAX_BAND_BYTES / 2**30:.0f}; choose smaller tiles, or cut the image into columns"
        )
