"""`segdino-deploy predict --mode tile`: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from segdino_deploy.canary import synthetic_image
from segdino_deploy.engines.run import Runner
from segdino_deploy.tiles import segment_tiled
from tests.cli.conftest import Cli
from tests.tiles.models import Brightness, local_card

LARGE = synthetic_image((230, 300), seed=6)
SMALL = synthetic_image((60, 100), seed=7)
CARD = local_card((64, 64))


@pytest.fixture(autouse=True)
def _runs_the_local_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object, **__: object) -> Runner:
        return Brightness(CARD)

    monkeypatch.setattr("segdino_deploy.engines.run.open_engine", opened)
    monkeypatch.setattr("segdino_deploy.folders.predict.engine_identity", lambda *_: "x")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(SMALL).save(folder / "small.png")
    tifffile.imwrite(folder / "large.tif", LARGE, tile=(64, 64), compression="zlib")
    return folder


def test_large_images_are_tiled_and_small_ones_are_not(cli: Cli, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    result = cli("predict", "x.segdino", folder, "-o", out, "--mode", "tile", "--mask-format", "tiff", "--json")

    assert result.code == 0, result.stderr
    assert "large.tif: tiles: 30/30" in result.stderr and "small.png: tiles" not in result.stderr
    masks = {Path(row["image"]).name: Path(row["mask"]) for row in json.loads(result.stdout)["images"]}
    assert masks == {"large.tif": out / "large.tif", "small.png": out / "small.png"}
    expected = segment_tiled(Brightness(CARD), LARGE)[""] * np.uint8(255)
    np.testing.assert_array_equal(tifffile.imread(out / "large.tif"), expected)


def test_nothing_is_tiled_unasked(cli: Cli, folder: Path, tmp_path: Path) -> None:
    result = cli("predict", "x.segdino", folder, "-o", tmp_path / "out")

    assert result.code == 0
    assert "tiles" not in result.stderr
    assert {path.name for path in (tmp_path / "out").glob("large*")} == {"large.png", "large.overlay.png"}


def test_a_resumed_run_with_other_tiles_is_refused(cli: Cli, folder: Path, tmp_path: Path) -> None:
    line = ("predict", "x.segdino", folder, "-o", tmp_path / "out", "--resume", "--mode", "tile")

    assert cli(*line).code == 0
    again = cli(*line)
    other = cli(*line, "--overlap", "3")

    assert again.code == 0 and "large.tif: tiles" not in again.stderr
    assert other.code == 2 and "--overlap" in other.error


def test_a_damaged_large_image_is_one_line_and_nothing_is_left(cli: Cli, folder: Path, tmp_path: Path) -> None:
    data = (folder / "large.tif").read_bytes()
    (folder / "large.tif").write_bytes(data[: len(data) // 2])

    result = cli("predict", "x.segdino", folder / "large.tif", "-o", tmp_path / "out", "--mode", "tile")

    assert result.code == 1
    assert "large.tif: damaged image" in result.error
    assert not [path for path in (tmp_path / "out").iterdir() if "large" in path.name]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--tile", "64"), "--tile: of tiles, which only --mode tile makes; add it"),
        (("--mode", "tile", "--overlap", "33"), "--overlap: 33 pixels; it must be 0 to 32"),
        (("--mode", "tile", "--ray", "local"), "--mode tile: runs on this machine; leave out --ray"),
        (("--mode", "tiles"), "--mode: 'tiles' is none of resize, tile"),
    ],
)
def test_wrong_options_end_with_exit_code_2(
    cli: Cli, folder: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    result = cli("predict", "x.segdino", folder, "-o", tmp_path / "out", *options)

    assert result.code == 2
    assert message in result.error


def test_the_summary_says_how_many_images_were_segmented_whole(cli: Cli, folder: Path, tmp_path: Path) -> None:
    def summary(inputs: Path, output: str, *options: str) -> str:
        return cli("predict", "x.segdino", inputs, "-o", tmp_path / output, *options).stdout

    assert "(1 of 2 whole)" in summary(folder, "both", "--mode", "tile", "--resume")
    assert "whole" not in summary(folder, "both", "--mode", "tile", "--resume")  # nothing is left to do
    assert "(1 of 1 whole)" in summary(folder / "large.tif", "large", "--mode", "tile", "--tile", "300")
    assert "whole" not in summary(folder / "large.tif", "tiled", "--mode", "tile")
    assert "whole" not in summary(folder, "resized")
