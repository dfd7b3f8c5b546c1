"""Large files to masks and overlays on disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from segdino_deploy.canary import synthetic_image
from segdino_deploy.errors import InputError, SegdinoDeployError
from segdino_deploy.images import overlay
from segdino_deploy.manifest import ModelCard
from segdino_deploy.predict import Job, plan_jobs
from segdino_deploy.tiles import TileOptions, predict_tiled
from segdino_deploy.tiles import predict as predict_module
from segdino_deploy.tiles.predict import open_if_large
from tests.tiles.models import Brightness, local_card

PIXELS = synthetic_image((230, 300), seed=6)


def make_job(tmp_path: Path, name: str = "slide.tif", heads: tuple[str, ...] = ("",)) -> Job:
    path = tmp_path / "in" / name
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, PIXELS, tile=(64, 64), compression="zlib")
    else:
        Image.fromarray(PIXELS).save(path)
    return plan_jobs([path], tmp_path / "out", heads)[0]


@pytest.mark.parametrize("name", ["slide.tif", "slide.png"])
def test_a_mask_and_an_overlay_are_written(tmp_path: Path, name: str) -> None:
    job = make_job(tmp_path, name)

    (prediction,) = predict_tiled(Brightness(local_card((64, 64))), job)

    red = PIXELS[..., 0] > 127
    assert (prediction.image, prediction.target) == (job.image, job.targets[0])
    assert prediction.pixels == {0: int((~red).sum()), 1: int(red.sum())}
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "slide.png")), red * np.uint8(255))
    shown = np.asarray(Image.open(tmp_path / "out" / "slide.overlay.png"))
    np.testing.assert_array_equal(shown, overlay(PIXELS, red.astype(np.uint8)))
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_several_classes_are_written_as_their_indices_and_several_heads_apart(tmp_path: Path) -> None:
    job = make_job(tmp_path, heads=("red", "green"))
    card = local_card((64, 64))
    heads = [
        card.heads[0].model_copy(update={"name": "red", "num_classes": 3}),
        card.heads[0].model_copy(update={"name": "green"}),
    ]

    red, green = predict_tiled(Brightness(ModelCard(**{**dict(card), "heads": heads})), job)

    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"slide.red.png", "slide.red.overlay.png", "slide.green.png", "slide.green.overlay.png"}
    np.testing.assert_array_equal(np.asarray(Image.open(red.target.mask)), PIXELS.argmax(axis=2))
    np.testing.assert_array_equal(np.asarray(Image.open(green.target.mask)), (PIXELS[..., 1] > 127) * np.uint8(255))
    assert set(red.pixels) == {0, 1, 2} and set(green.pixels) == {0, 1}


def test_a_tiff_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    job = make_job(tmp_path)

    (prediction,) = predict_tiled(Brightness(local_card((64, 64))), job, TileOptions(mask_format="tiff"))

    assert prediction.target.mask == tmp_path / "out" / "slide.tif"
    np.testing.assert_array_equal(tifffile.imread(prediction.target.mask), (PIXELS[..., 0] > 127) * np.uint8(255))
    assert not (tmp_path / "out" / "slide.png").exists()


def test_an_image_is_never_overwritten_by_its_mask(tmp_path: Path) -> None:
    path = make_job(tmp_path).image
    before = path.read_bytes()
    job = plan_jobs([path], path.parent)[0]  # its mask was planned as slide.png

    with pytest.raises(InputError, match=r"slide\.tif: its result .* would overwrite it; choose another -o"):
        predict_tiled(Brightness(local_card((64, 64))), job, TileOptions(mask_format="tiff"))

    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_only_far_larger_images_are_opened_for_tiles(tmp_path: Path) -> None:
    path = make_job(tmp_path).image

    assert open_if_large(path, local_card((64, 64)), TileOptions()) is not None
    assert open_if_large(path, local_card((256, 256)), TileOptions()) is None


def test_a_source_that_is_open_is_read_on(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    card = local_card((64, 64))
    source = open_if_large(job.image, card, TileOptions())
    job.image.unlink()  # the descriptor is enough

    (prediction,) = predict_tiled(Brightness(card), job, source=source)

    assert prediction.pixels[1] == int((PIXELS[..., 0] > 127).sum())


def interrupt(done: int, total: int) -> None:
    if done > total / 2:
        raise KeyboardInterrupt


class OutOfMemory(Brightness):
    def _run(self, image_nhwc: NDArray[np.uint8]) -> dict[str, NDArray[np.generic]]:
        if len(self.batches) == 5:
            raise RuntimeError("out of memory")
        return super()._run(image_nhwc)


@pytest.mark.parametrize("mask_format", ["png", "tiff"])
@pytest.mark.parametrize("how", ["interrupted", "damaged", "engine", "overlay"])
def test_what_fails_in_the_middle_leaves_nothing(
    tmp_path: Path, how: str, mask_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(tmp_path)
    card = local_card((64, 64))
    runner = OutOfMemory(card) if how == "engine" else Brightness(card)
    if how == "damaged":
        data = job.image.read_bytes()
        job.image.write_bytes(data[: len(data) * 2 // 3])
    if how == "overlay":

        def full(path: Path, _: object) -> None:
            raise SegdinoDeployError(f"no space left to write {path}: free some and run again")

        monkeypatch.setattr(predict_module, "write_png", full)
    options = TileOptions(mask_format="png" if mask_format == "png" else "tiff")

    with pytest.raises((KeyboardInterrupt, SegdinoDeployError)):
        predict_tiled(runner, job, options, interrupt if how == "interrupted" else lambda *_: None)

    assert not list((tmp_path / "out").iterdir())


def test_progress_counts_tiles(tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []

    predict_tiled(Brightness(local_card((64, 64))), make_job(tmp_path), on_tiles=lambda *count: done.append(count))

    total = 5 * 6  # (230 - 64) / 48 and (300 - 64) / 48, rounded up, and one
    assert done[0] == (0, total) and done[-1] == (total, total)
    assert done == sorted(done) and len(done) > 5


MEASURED = """
import sys
from pathlib import Path
from segdino_deploy.benchmarks.process import own_peak_mib
from segdino_deploy.predict import plan_jobs
from segdino_deploy.tiles import overview, predict_tiled
from tests.tiles.models import Brightness, local_card
overview.MAX_PIXELS = 2**20  # small images have a smaller overlay otherwise
path = Path(sys.argv[1])
predict_tiled(Brightness(local_card((256, 256))), plan_jobs([path], path.parent / "out")[0])
print(own_peak_mib())
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the system tells no peak of a process")
def test_memory_does_not_grow_with_the_height_of_the_image(tmp_path: Path) -> None:
    tile = synthetic_image((256, 256), seed=0)

    def peak_mib(height: int) -> float:
        path = tmp_path / f"{height}.tif"
        tiles = (tile for _ in range(height * 1024 // 256**2))
        tifffile.imwrite(path, tiles, shape=(height, 1024, 3), dtype=np.uint8, tile=(256, 256), compression="zlib")
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, str(path)],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parent.parent.parent,
        )
        return float(done.stdout)

    assert peak_mib(16 * 1024) - peak_mib(1024) < 20  # 45 MiB more of image, 15 of mask, 60 of probabilities
