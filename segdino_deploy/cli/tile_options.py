"""The options of `predict --mode tile`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from segdino_deploy.errors import InputError

if TYPE_CHECKING:
    from segdino_deploy.folders.records import ImageResult
    from segdino_deploy.manifest import ModelCard
    from segdino_deploy.progress import OnStage
    from segdino_deploy.tiles import TileOptions
    from segdino_deploy.tiles.aside import TiledImages

ModeOption = Annotated[
    str,
    typer.Option(metavar="resize|tile", help="tile: cut images far larger than the model into overlapping tiles."),
]
TileOption = Annotated[
    str | None,
    typer.Option(metavar="HxW|S", help="Size of a tile in the image's pixels. Default: the model's size."),
]
OverlapOption = Annotated[
    int | None,
    typer.Option(metavar="P", help="Pixels that tiles share at least, up to half a tile. Default: a quarter."),
]
MaskFormatOption = Annotated[
    str | None,
    typer.Option(metavar="png|tiff", help="Of tiled images' masks. Default: png, tiff above 89 megapixels."),
]


def tile_options(
    mode: str, tile: str | None, overlap: int | None, mask_format: str | None, batch_size: int | None = None
) -> TileOptions | None:
    """None for `--mode resize`. InputError: no such mode, values that cannot be, options of the other mode."""
    from segdino_deploy.tiles.options import TileOptions, parse_mask_format, parse_tile

    if mode not in ("resize", "tile"):
        raise InputError(f"--mode: {mode!r} is none of resize, tile")
    given = {"--tile": tile, "--overlap": overlap, "--mask-format": mask_format}
    if mode == "resize":
        named = [option for option, value in given.items() if value is not None]
        if named:
            raise InputError(f"{' and '.join(named)}: of tiles, which only --mode tile makes; add it")
        return None
    return TileOptions(
        None if tile is None else parse_tile(tile),
        overlap,
        batch_size,
        None if mask_format is None else parse_mask_format(mask_format),
    )


def aside_for(
    tiles: TileOptions | None, card: ModelCard, overlay: bool, on_tiles: OnStage
) -> tuple[TiledImages | None, dict[str, str]]:
    """What a run over a folder takes aside, and what its journal notes of it. Raises as `TiledImages` does."""
    if tiles is None:
        return None, {}
    from segdino_deploy.tiles.aside import TiledImages

    return TiledImages(card, tiles, overlay, on_tiles), tiles.describe(card)


def hint_after(results: Sequence[ImageResult], card: ModelCard) -> str | None:
    """What to say after a run without tiles: of the first image that was reduced very much; None: of none."""
    from segdino_deploy.tiles.options import hint

    for result in results:
        text = hint((result.height, result.width), card) if result.height and result.width else None
        if text is not None:
            return f"{result.image}: {text}"
    return None
