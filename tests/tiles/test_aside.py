"""Large images among the small ones of a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from segdino_deploy.canary import synthetic_image
from segdino_deploy.errors import InputError, MissingComponent
from segdino_deploy.folders.jobs import plan_jobs
from segdino_deploy.folders.options import FolderOptions
from segdino_deploy.folders.predict import predict_folder
from segdino_deploy.tiles import TileOptions, segment_tiled
from segdino_deploy.tiles.aside import TiledImages
from tests.tiles.models import Brightness, local_card

LARGE = synthetic_image((230, 300), seed=6)
SMALL = synthetic_image((60, 100), seed=7)
CARD = local_card((64, 64))


def make_folder(folder: Path) -> None:
    folder.mkdir()
    Image.fromarray(SMALL).save(folder / "a.png")
    tifffile.imwrite(folder / "b.tif", LARGE, tile=(64, 64), compression="zlib")
    tifffile.imwrite(folder / "c.tif", LARGE, tile=(64, 64), compression="zlib")
    data = (folder / "c.tif").read_bytes()
    (folder / "c.tif").write_bytes(data[: len(data) // 2])
    Image.fromarray(LARGE).save(folder / "d.jpg")


def test_only_the_large_images_of_a_folder_are_tiled(tmp_path: Path) -> None:
    make_folder(tmp_path / "in")
    runner = Brightness(CARD)
    counted: list[tuple[str, int, int]] = []
    aside = TiledImages(CARD, TileOptions(), on_tiles=lambda *count: counted.append(count))
    jobs = plan_jobs([tmp_path / "in"], tmp_path / "out")

    summary = predict_folder(runner, jobs, FolderOptions(workers=2), "x", aside=aside)

    assert (summary.done, summary.failed) == (3, 1)
    assert "c.tif: damaged image" in summary.first_failure
    large = np.asarray(Image.open(tmp_path / "out" / "b.png"))
    np.testing.assert_array_equal(large, segment_tiled(runner, LARGE)[""] * np.uint8(255))
    small = np.asarray(Image.open(tmp_path / "out" / "a.png"))
    assert small.shape == (60, 100)
    assert {name for name, *_ in counted} == {"b.tif: tiles", "c.tif: tiles", "d.jpg: tiles"}
    assert ("b.tif: tiles", 30, 30) in counted and ("c.tif: tiles", 30, 30) not in counted
    result = summary.listed[1]
    assert (result.width, result.height, result.heads[0].mask) == (300, 230, "b.png")
    assert sum(result.heads[0].pixels.values()) == 300 * 230
    written = {path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")}
    assert written == {f"{stem}{suffix}" for stem in "abd" for suffix in (".png", ".overlay.png")}


def test_without_overlays_there_are_none(tmp_path: Path) -> None:
    make_folder(tmp_path / "in")
    (tmp_path / "in" / "c.tif").unlink()
    jobs = plan_jobs([tmp_path / "in"], tmp_path / "out")
    aside = TiledImages(CARD, TileOptions(), overlay=False)

    predict_folder(Brightness(CARD), jobs, FolderOptions(overlay=False), "x", aside=aside)

    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.png", "b.png", "d.png"}


def test_a_model_of_masks_only_is_refused_once_and_not_per_image() -> None:
    with pytest.raises(InputError, match="masks only, which cannot be blended"):
        TiledImages(local_card((64, 64), outputs=("mask",)), TileOptions())


@pytest.mark.parametrize("library", ["pyvips", "tifffile"])
def test_a_missing_library_is_told_before_the_first_image(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segdino_deploy.requirements.has_module", lambda name: name != library)

    with pytest.raises(MissingComponent, match=rf"--mode tile: {library} is not installed; .*\[large\]"):
        TiledImages(CARD, TileOptions())


def test_what_results_depend_on_is_told_by_the_names_of_options() -> None:
    assert TileOptions((128, 256), mask_format="tiff").describe(CARD) == {
        "--mode": "tile",
        "--tile": "128x256",
        "--overlap": "32",
        "--mask-format": "tiff",
    }
    assert TileOptions().describe(CARD)["--tile"] == "64x64"
