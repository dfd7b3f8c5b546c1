"""Tiled against whole: of models that look only around a pixel both must be the same."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from segdino_deploy.canary import synthetic_image
from segdino_deploy.engines.run import Runner
from segdino_deploy.errors import InputError, SegdinoDeployError
from segdino_deploy.evidence import mask_from_logits, probability_from_logits
from segdino_deploy.manifest import ModelCard, OutputName
from segdino_deploy.tiles import TileOptions, segment_tiled
from segdino_deploy.tiles.grid import Grid
from segdino_deploy.tiles.plan import TilePlan, make_plan
from segdino_deploy.tiles.rows import ArrayRows
from segdino_deploy.tiles.segment import probability_rows
from tests.tiles.models import Brightness, Upstream, brightness, convolution, local_card

Image = NDArray[np.uint8]
Probability = NDArray[np.float32]


def tiled(runner: Runner, image: Image, options: TileOptions, head: str = "") -> tuple[Probability, Grid]:
    plan = make_plan((image.shape[0], image.shape[1]), runner.card, options)
    rows = [probability[head] for probability in probability_rows(runner, ArrayRows(image), plan)]
    return np.concatenate(rows, axis=1), plan.grid


def edges(starts: tuple[int, ...], tile: int) -> list[int]:
    """Where tiles begin and end inside the image."""
    return [*starts[1:], *(start + tile for start in starts[:-1])]


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("outputs", [("mask", "logits"), ("probability",)])
def test_a_model_of_single_pixels_gives_the_same_tiled_and_whole(classes: int, outputs: tuple[OutputName, ...]) -> None:
    class Given(Brightness):
        def _run(self, image_nhwc: Image) -> dict[str, NDArray[np.generic]]:
            given = super()._run(image_nhwc)
            given["probability"] = probability_from_logits(np.asarray(given["logits"], np.float32))
            return {name: given[name] for name in self.card.output_names}

    image = synthetic_image((201, 333), seed=2)
    whole = brightness(image[None], classes)

    runner = Given(local_card((48, 64), classes, outputs))
    probability, _ = tiled(runner, image, TileOptions())
    masks = segment_tiled(runner, image)

    np.testing.assert_allclose(probability, probability_from_logits(whole)[0], atol=1e-6)
    np.testing.assert_array_equal(masks[""], mask_from_logits(whole, 0.5)[0])
    assert len(np.unique(masks[""])) == max(2, classes)


@pytest.mark.parametrize("side", [1, 5, 9])
def test_a_convolution_gives_the_same_away_from_the_tiles_edges(tmp_path: Path, side: int) -> None:
    image = synthetic_image((230, 310), seed=4)
    runner = convolution(tmp_path / "tile.onnx", local_card((64, 80)), side)
    whole = convolution(tmp_path / "whole.onnx", local_card((230, 310)), side).run({"image": image[None]})
    expected = probability_from_logits(np.asarray(whole["logits"], np.float32))[0, 0]

    blended, grid = tiled(runner, image, TileOptions())
    cut, _ = tiled(runner, image, TileOptions(overlap=0))

    far = np.ones(expected.shape, bool)  # from edges, where zeros stand in for what lies outside a tile
    for edge in edges(grid.rows.starts, 64):
        far[max(0, edge - side // 2) : edge + side // 2] = False
    for edge in edges(grid.columns.starts, 80):
        far[:, max(0, edge - side // 2) : edge + side // 2] = False
    assert far.mean() > 0.5
    np.testing.assert_allclose(blended[0][far], expected[far], atol=2e-6)
    np.testing.assert_array_equal((blended[0] > 0.5)[far], (expected > 0.5)[far])
    if side > 1:  # near them the window hides what is wrong there
        assert np.abs(cut[0] - expected).max() > 0.1
        assert np.abs(blended[0] - expected).max() < 0.1 * np.abs(cut[0] - expected).max()


def test_resized_tiles_come_back_to_their_places() -> None:
    """A ramp survives resizing that keeps pixel centres; half a pixel of the model off would be 2.5 grey levels."""
    ramp = np.linspace(0, 255, 200)  # 1.3 levels per pixel, 5.1 per pixel of a model that sees a quarter
    image = np.broadcast_to(np.rint(ramp).astype(np.uint8)[None, :, None], (300, 200, 3))
    runner = Brightness(local_card((32, 16)))

    probability, grid = tiled(runner, image, TileOptions((128, 64)))

    assert grid.num_tiles > 9
    logits = np.log(probability[0] / (1 - probability[0]))
    levels = logits * 32 + 127.5  # the reverse of `brightness`
    inside = slice(8, -8)  # at the image's border the filter has no neighbours
    assert np.abs(levels - ramp)[:, inside].max() < 1


def seam(probability: Probability, grid: Grid) -> float:
    """How much steeper the probability is across the edges of tiles than elsewhere, on the average of an axis."""
    ratios = []
    for axis, tiles in ((1, grid.rows), (2, grid.columns)):
        across = np.abs(np.diff(probability, axis=axis)).mean(axis=(0, 3 - axis))  # between pixel i and i + 1
        at = np.zeros(len(across), bool)
        at[[edge - 1 for edge in edges(tiles.starts, tiles.tile)]] = True
        ratios.append(float(across[at].mean() / across[~at].mean()))
    return max(ratios)


@pytest.mark.parametrize("name", ["v1_convt", "v2"])
def test_no_seam_is_left_of_upstreams_checkpoints(name: str) -> None:
    image = synthetic_image((192, 288), seed=3)
    runner = Upstream(name)

    cut = tiled(runner, image, TileOptions(overlap=0))
    blended = tiled(runner, image, TileOptions())

    assert seam(*cut) > 10  # tiles beside each other disagree
    assert seam(*blended) < 1.5


def test_batches_are_filled_across_the_ends_of_rows() -> None:
    runner = Brightness(local_card((32, 32), batch=4))
    done: list[tuple[int, int]] = []

    masks = segment_tiled(runner, synthetic_image((224, 70), 1), TileOptions(), lambda *count: done.append(count))

    assert masks[""].shape == (224, 70)
    assert runner.batches == [4] * 6 + [3]  # 9 rows of 3 tiles
    assert done == [(0, 27), *((4 * (i + 1), 27) for i in range(6)), (27, 27)]


def test_a_fixed_batch_is_filled_up_once_at_the_end() -> None:
    card = local_card((32, 32), batch=4)
    runner = Brightness(card.model_copy(update={"batch": card.batch.model_copy(update={"min": 4})}))

    segment_tiled(runner, synthetic_image((224, 70), 1))

    assert runner.batches == [4] * 7


def test_each_head_gets_its_own_masks() -> None:
    card = local_card((32, 32))
    heads = [card.heads[0].model_copy(update={"name": name}) for name in ("red", "green")]
    runner = Brightness(ModelCard(**{**dict(card), "heads": heads}))
    image = synthetic_image((90, 100), 1)

    masks = segment_tiled(runner, image)

    np.testing.assert_array_equal(masks["red"], image[..., 0] > 127)
    np.testing.assert_array_equal(masks["green"], image[..., 1] > 127)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 300), (300, 1), (31, 33)])
def test_images_smaller_than_a_tile_are_mirrored(size_hw: tuple[int, int]) -> None:
    image = synthetic_image(size_hw, 1)

    class Seeing(Brightness):
        def _run(self, image_nhwc: Image) -> dict[str, NDArray[np.generic]]:
            assert set(np.unique(image_nhwc)) <= set(np.unique(image))  # nothing is made up
            return super()._run(image_nhwc)

    masks = segment_tiled(Seeing(local_card((32, 32))), image)

    np.testing.assert_array_equal(masks[""], image[..., 0] > 127)


def test_an_engine_that_fails_in_the_middle_is_told_as_it_says() -> None:
    class Failing(Brightness):
        def _run(self, image_nhwc: Image) -> dict[str, NDArray[np.generic]]:
            if len(self.batches) == 3:
                raise RuntimeError("out of memory")
            return super()._run(image_nhwc)

    with pytest.raises(SegdinoDeployError, match="test fp32 engine failed: out of memory"):
        segment_tiled(Failing(local_card((32, 32))), synthetic_image((224, 70), 1))


def test_the_next_tiles_are_prepared_while_the_engine_works() -> None:
    """Two batches are under way: a source that waits for the engine to begin would wait forever if it were one."""
    begun = threading.Event()

    class Telling(Brightness):
        def _run(self, image_nhwc: Image) -> dict[str, NDArray[np.generic]]:
            begun.set()
            return super()._run(image_nhwc)

    class Waiting(ArrayRows):
        def read(self, count: int) -> Image:
            assert self._top == 0 or begun.wait(20)
            return super().read(count)

    runner = Telling(local_card((32, 32), batch=3))
    plan = make_plan((224, 70), runner.card, TileOptions())

    rows = list(probability_rows(runner, Waiting(synthetic_image((224, 70), 1)), plan))

    assert len(rows) == 9


def test_rows_come_as_soon_as_no_later_tile_reaches_them() -> None:
    image = synthetic_image((224, 70), 1)
    runner = Brightness(local_card((32, 32), batch=1))
    source = ArrayRows(image)
    plan = make_plan(source.size_hw, runner.card, TileOptions())

    rows = probability_rows(runner, source, plan)
    first = next(rows)[""]

    assert first.shape == (1, plan.grid.rows.starts[1], 70)
    assert source.read(1).tobytes() == image[plan.grid.rows.starts[1] + 32].tobytes()  # two rows of tiles were read
    rows.close()


def test_memory_is_checked_before_anything_is_read() -> None:
    card = local_card((256, 256))

    assert isinstance(make_plan((10**6, 10**6), card, TileOptions()), TilePlan)  # 3.6 GB for a row of tiles
    with pytest.raises(InputError, match=r"takes 33\.4 GiB, more than 4; choose"):
        make_plan((10**7, 10**7), card, TileOptions())
