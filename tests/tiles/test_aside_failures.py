"""What concerns one large image is counted, and the folder's others go on; what concerns all of them ends the run."""

from __future__ import annotations

import errno
import os
import weakref
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from segdino_deploy.canary import synthetic_image
from segdino_deploy.errors import InputError, SegdinoDeployError
from segdino_deploy.folders.jobs import plan_jobs
from segdino_deploy.folders.options import FolderOptions
from segdino_deploy.folders.predict import predict_folder
from segdino_deploy.folders.recording import Summary
from segdino_deploy.manifest import ModelCard
from segdino_deploy.tiles import TileOptions, file_rows, plan
from segdino_deploy.tiles import predict as predict_module
from segdino_deploy.tiles.aside import TiledImages
from tests.permissions import unprivileged
from tests.tiles.models import Brightness, local_card

LARGE = synthetic_image((230, 300), seed=6)
SMALL = synthetic_image((60, 60), seed=1)
CARD = local_card((64, 64))


def make_folder(folder: Path, *names: str, pixels: NDArray[np.uint8] = LARGE) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, **({"progressive": True} if path.suffix == ".jpg" else {}))
    return folder


def predict(images: Path, output: Path, runner: Brightness | None = None) -> Summary:
    card = CARD if runner is None else runner.card
    jobs = plan_jobs([images], output, [head.name for head in card.heads])
    aside = TiledImages(card, TileOptions())
    return predict_folder(runner or Brightness(card), jobs, FolderOptions(workers=2), "x", aside=aside)


def written(output: Path) -> set[str]:
    return {path.name for path in output.rglob("*") if path.is_file() and path.name != ".predict.jsonl"}


def test_a_name_that_is_too_long_for_its_results_is_counted(tmp_path: Path) -> None:
    long = "b" * 240 + ".png"
    images = make_folder(tmp_path / "in", "a.png", long, "c.png")

    summary = predict(images, tmp_path / "out")

    assert (summary.done, summary.failed) == (2, 1)
    assert long in summary.first_failure and os.strerror(errno.ENAMETOOLONG) in summary.first_failure
    assert written(tmp_path / "out") == {"a.png", "a.overlay.png", "c.png", "c.overlay.png"}


def test_of_two_heads_none_is_written_where_the_name_of_one_is_too_long(tmp_path: Path) -> None:
    heads = [CARD.heads[0].model_copy(update={"name": name}) for name in ("x", "y" * 20)]
    images = make_folder(tmp_path / "in", "b" * 215 + ".png")  # of the first head, all names are short enough

    summary = predict(images, tmp_path / "out", Brightness(ModelCard(**{**dict(CARD), "heads": heads})))

    assert (summary.done, summary.failed) == (0, 1)
    assert not written(tmp_path / "out")


class Removing(Brightness):
    """Removes an image while another one is computed."""

    def __init__(self, image: Path) -> None:
        super().__init__(CARD)
        self._image = image

    def _run(self, image_nhwc: NDArray[np.uint8]) -> dict[str, NDArray[np.generic]]:
        self._image.unlink(missing_ok=True)
        return super()._run(image_nhwc)


def test_an_image_that_vanishes_is_counted(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", "a.png", "b.png", "c.png")

    summary = predict(images, tmp_path / "out", Removing(images / "b.png"))

    assert (summary.done, summary.failed) == (2, 1)
    assert summary.first_failure == f"{images / 'b.png'}: no such file"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "not enough memory to decode it; save it as a tiled TIFF"),
        (RecursionError("too deep"), r"cannot be read (RecursionError: too deep)"),
    ],
)
def test_whatever_decoding_stumbles_over_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    images = make_folder(tmp_path / "in", "a.png", "b.jpg", "c.png")

    def stumble(_: Path) -> NDArray[np.uint8]:
        raise error

    monkeypatch.setattr(file_rows, "read_rgb", stumble)

    summary = predict(images, tmp_path / "out")

    assert (summary.done, summary.failed) == (2, 1)
    assert summary.first_failure == f"{images / 'b.jpg'}: {said}"


def test_an_image_that_is_exchanged_for_one_of_another_size_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = make_folder(tmp_path / "in", "a.png", "b.jpg", "c.png")
    monkeypatch.setattr(file_rows, "read_rgb", lambda _: SMALL)

    summary = predict(images, tmp_path / "out")

    assert (summary.done, summary.failed) == (2, 1)
    assert "b.jpg: is 60x60 pixels, not 230x300 as before" in summary.first_failure


def test_an_image_too_wide_for_its_tiles_is_counted_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = make_folder(tmp_path / "in", "a.png", "b.png")
    make_folder(images, "c.png", pixels=np.tile(LARGE, (1, 4, 1)))
    monkeypatch.setattr(plan, "MAX_BAND_BYTES", 64 * 600 * (3 + 4) * 2)

    summary = predict(images, tmp_path / "out")

    assert (summary.done, summary.failed) == (2, 1)
    assert summary.first_failure.startswith(f"{images / 'c.png'}: --tile: a row of 64x64 tiles across 1200 pixels")


@pytest.mark.parametrize("pixels", [SMALL, LARGE], ids=["whole", "tiled"])
def test_a_folder_that_may_not_be_written_ends_the_run_tiled_or_not(
    tmp_path: Path, pixels: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(tmp_path / "in", "p/0.png", "p/1.png", "q/0.png", pixels=pixels)
    (tmp_path / "out" / "p").mkdir(parents=True)
    (tmp_path / "out" / "p").chmod(0o555)
    (tmp_path / "out").chmod(0o777)
    monkeypatch.chdir(tmp_path)  # whoever may not pass the folders above
    Path().chmod(0o777)

    with unprivileged(), pytest.raises(InputError, match=r"no permission to write out/p/0\."):
        predict(Path("in"), Path("out"))

    (tmp_path / "out" / "p").chmod(0o755)
    assert not written(tmp_path / "out" / "p")


def test_a_full_disk_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = make_folder(tmp_path / "in", "a.png", "b.png")

    def full(path: Path, _: object) -> None:
        raise SegdinoDeployError(f"no space left to write {path}: free some and run again")

    monkeypatch.setattr(predict_module, "write_png", full)

    with pytest.raises(SegdinoDeployError, match=r"no space left to write .*a\.overlay\.png"):
        predict(images, tmp_path / "out")


def test_a_result_never_overwrites_another_input(tmp_path: Path) -> None:
    """The mask of `x/a.jpg` is `out/a.red.tif`, which is an input, too."""
    heads = [CARD.heads[0].model_copy(update={"name": name}) for name in ("red", "green")]
    card = ModelCard(**{**dict(CARD), "heads": heads})
    make_folder(tmp_path, "x/a.jpg", "out/a.red.tif")
    before = (tmp_path / "out" / "a.red.tif").read_bytes()
    inputs = [tmp_path / "x" / "a.jpg", tmp_path / "out" / "a.red.tif"]
    jobs = plan_jobs(inputs, tmp_path / "out", ["red", "green"])
    aside = TiledImages(card, TileOptions(mask_format="tiff"))

    with pytest.raises(InputError, match=r"a\.jpg: its result .*a\.red\.tif would overwrite an input; choose another"):
        predict_folder(Brightness(card), jobs, FolderOptions(), "x", aside=aside)

    assert (tmp_path / "out" / "a.red.tif").read_bytes() == before
    as_png = TiledImages(card, TileOptions(mask_format="png"))
    assert predict_folder(Brightness(card), jobs, FolderOptions(), "x", aside=as_png).done == 2


def test_what_can_only_be_decoded_whole_is_decoded_when_its_turn_comes_and_let_go_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("a.bmp", "b.bmp", "c.jpg", "d.jpg")
    images = make_folder(tmp_path / "in", *names)
    make_folder(images, "small.bmp", pixels=SMALL)
    tifffile.imwrite(images / "e.tif", LARGE, tile=(64, 64), compression="zlib")
    read_rgb = file_rows.read_rgb
    decoded: list[tuple[str, int]] = []
    arrays: list[weakref.ref[NDArray[np.uint8]]] = []

    def read(path: Path) -> NDArray[np.uint8]:
        pixels = read_rgb(path).copy()
        decoded.append((path.name, sum(array() is not None for array in arrays)))
        arrays.append(weakref.ref(pixels))
        return pixels

    monkeypatch.setattr(file_rows, "read_rgb", read)

    summary = predict(images, tmp_path / "out")

    assert summary.done == 6
    assert decoded == [(name, 0) for name in names]  # and not the small one, which is segmented as always
