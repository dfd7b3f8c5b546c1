"""What is tiled, and with which options."""

from __future__ import annotations

import pytest

from segdino_deploy.cli.tile_options import hint_after, tile_options
from segdino_deploy.errors import InputError
from segdino_deploy.folders.records import ImageResult
from segdino_deploy.manifest import OutputName
from segdino_deploy.tiles import TileOptions
from segdino_deploy.tiles.options import hint, wants_tiles
from segdino_deploy.tiles.plan import make_plan
from tests.tiles.models import local_card


@pytest.mark.parametrize(
    ("size_hw", "tile", "is_tiled"),
    [
        ((256, 256), None, False),
        ((512, 512), None, False),  # twice the model's size
        ((513, 200), None, True),  # more, in one direction
        ((200, 513), None, True),
        ((2000, 2000), None, True),
        ((2000, 2000), 2000, False),  # one tile
        ((2001, 2000), 2000, True),
        ((400, 400), 300, False),  # not far larger than the model
    ],
)
def test_only_images_far_larger_than_the_model_are_tiled(
    size_hw: tuple[int, int], tile: int | None, is_tiled: bool
) -> None:
    options = TileOptions(None if tile is None else (tile, tile))

    assert wants_tiles(size_hw, local_card((256, 256)), options) == is_tiled


def test_the_defaults_are_the_models() -> None:
    card = local_card((64, 96), batch=3)

    plan = make_plan((1000, 1000), card, TileOptions())

    assert (plan.grid.tile_hw, plan.batch_size) == ((64, 96), 3)
    assert max(b - a for a, b in zip(plan.grid.rows.starts, plan.grid.rows.starts[1:], strict=False)) <= 64 - 16


def test_options_of_the_line_reach_the_plan() -> None:
    options = tile_options("tile", "128x256", 10, "tiff", batch_size=2)

    assert options == TileOptions((128, 256), 10, 2, "tiff")
    plan = make_plan((1000, 1000), local_card((64, 96)), options)
    assert (plan.grid.tile_hw, plan.batch_size) == ((128, 256), 2)


def test_without_the_mode_there_are_no_tiles() -> None:
    assert tile_options("resize", None, None, None, batch_size=4) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tiles", None, None, None), "--mode: 'tiles' is none of resize, tile"),
        (("resize", "512", None, None), "--tile: of tiles, which only --mode tile makes; add it"),
        (("resize", None, 3, "png"), "--overlap and --mask-format: of tiles"),
        (("tile", "big", None, None), "--tile: 'big' is not HxW or one number"),
        (("tile", "8", None, None), "--tile: 8x8 is too small; at least 16 pixels"),
        (("tile", "100x40", 21, None), "--overlap: 21 pixels; it must be 0 to 20, half of the tile's 40"),
        (("tile", "100", -1, None), "--overlap: -1 pixels; it must be 0 to 50"),
        (("tile", None, None, "jpg"), "--mask-format: 'jpg' is none of png, tiff"),
    ],
)
def test_wrong_options_are_refused(arguments: tuple[str, str | None, int | None, str | None], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tile_options(*arguments)


def test_an_overlap_too_large_for_the_models_size_is_refused() -> None:
    with pytest.raises(InputError, match="--overlap: 40 pixels; it must be 0 to 32, half of the tile's 64"):
        make_plan((1000, 1000), local_card((64, 96)), TileOptions(overlap=40))


@pytest.mark.parametrize("batch_size", [0, 5])
def test_a_batch_that_the_model_does_not_take_is_refused(batch_size: int) -> None:
    with pytest.raises(InputError, match=f"--batch-size: {batch_size}; this model takes 1 to 4 images"):
        make_plan((1000, 1000), local_card((64, 96)), TileOptions(batch_size=batch_size))


@pytest.mark.parametrize("outputs", [("mask",), ("probability",), ("mask", "logits")])
def test_masks_alone_cannot_be_blended(outputs: tuple[OutputName, ...]) -> None:
    card = local_card((64, 96), outputs=outputs)

    if outputs == ("mask",):
        with pytest.raises(InputError, match=r"this model gives masks only.*--outputs mask,probability"):
            make_plan((1000, 1000), card, TileOptions())
    else:
        assert make_plan((1000, 1000), card, TileOptions()).grid.num_tiles > 1


def test_a_head_without_probabilities_is_named() -> None:
    card = local_card((64, 96))
    heads = [
        card.heads[0].model_copy(update={"name": "polyp"}),
        card.heads[0].model_copy(update={"name": "tissue", "outputs": ["mask"]}),
    ]

    with pytest.raises(InputError, match="the head tissue gives masks only"):
        make_plan((1000, 1000), card.model_copy(update={"heads": heads}), TileOptions())


def test_a_hint_is_given_only_where_nearly_all_detail_is_lost() -> None:
    card = local_card((256, 256))

    assert hint((4000, 6000), card) is None  # a photograph, such as training reduces
    assert hint((20000, 20000), card) == (
        "20000x20000 pixels are reduced to the model's 256x256; where details matter that this loses, add --mode tile"
    )


def test_after_a_run_the_first_image_that_was_reduced_very_much_is_named() -> None:
    card = local_card((256, 256))
    sizes = {"failed.tif": (None, None), "photo.jpg": (4000, 6000), "slide.tif": (9000, 300), "other.tif": (9000, 9000)}
    results = [
        ImageResult(image=name, status="ok" if height else "failed", height=height, width=width)
        for name, (height, width) in sizes.items()
    ]

    told = hint_after(results, card)

    assert told is not None and told.startswith("slide.tif: 9000x300 pixels are reduced to the model's 256x256")
    assert hint_after(results[:2], card) is None
