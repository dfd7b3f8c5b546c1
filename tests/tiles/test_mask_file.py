"""Masks are whole or absent, as tiled TIFF or PNG."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from segdino_deploy.errors import InputError
from segdino_deploy.tiles import formats
from segdino_deploy.tiles.formats import default_format
from segdino_deploy.tiles.mask_file import MaskFile
from segdino_deploy.tiles.options import MaskFormat
from tests.permissions import unprivileged

VALUES = np.random.default_rng(0).integers(0, 5, (777, 530), dtype=np.uint8)


def write(path: Path, mask_format: MaskFormat, step: int = 100, values: np.ndarray = VALUES) -> None:
    with MaskFile(path, (values.shape[0], values.shape[1]), mask_format) as file:
        for top in range(0, len(values), step):
            file.append(values[top : top + step])
        file.finish()
        file.publish()


@pytest.mark.parametrize("step", [1, 100, 256, 300, 777])
@pytest.mark.parametrize(("name", "mask_format"), [("mask.png", "png"), ("mask.tif", "tiff")])
def test_the_file_holds_the_rows_however_they_came(
    tmp_path: Path, name: str, mask_format: MaskFormat, step: int
) -> None:
    write(tmp_path / "new" / name, mask_format, step)

    with Image.open(tmp_path / "new" / name) as image:
        assert (image.format, image.mode) == (mask_format.upper(), "L")
        np.testing.assert_array_equal(np.asarray(image), VALUES)
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


@pytest.mark.parametrize(("limit", "magic"), [(2**31, b"II*\0"), (1000, b"II+\0")])
def test_a_tiff_is_tiled_and_deflated_and_big_where_it_may_need_to_be(
    tmp_path: Path, limit: int, magic: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "BIG_TIFF_PIXELS", limit)

    write(tmp_path / "mask.tif", "tiff")

    assert (tmp_path / "mask.tif").read_bytes()[:4] == magic
    with tifffile.TiffFile(tmp_path / "mask.tif") as tiff:
        page = tiff.pages.first
        assert (page.tilewidth, page.tilelength, page.compression.name) == (256, 256, "ADOBE_DEFLATE")
        np.testing.assert_array_equal(page.asarray(), VALUES)


def test_png_is_the_default_as_long_as_pillow_opens_it_without_a_warning() -> None:
    assert Image.MAX_IMAGE_PIXELS is not None
    assert default_format((1, Image.MAX_IMAGE_PIXELS)) == "png"
    assert default_format((1, Image.MAX_IMAGE_PIXELS + 1)) == "tiff"


@pytest.mark.parametrize("mask_format", ["png", "tiff"])
def test_what_is_given_up_leaves_the_old_file_and_nothing_else(tmp_path: Path, mask_format: MaskFormat) -> None:
    path = tmp_path / "mask"
    path.write_text("old")

    with pytest.raises(KeyboardInterrupt), MaskFile(path, (777, 530), mask_format) as file:
        file.append(VALUES[:300])
        raise KeyboardInterrupt

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_finished_file_that_is_not_published_is_removed(tmp_path: Path) -> None:
    with MaskFile(tmp_path / "mask.tif", (777, 530), "tiff") as file:
        file.append(VALUES)
        file.finish()

    assert not list(tmp_path.iterdir())


def test_a_folder_without_permission_is_told_before_any_work(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with unprivileged(), pytest.raises(InputError, match=r"no permission to write .*mask\.tif: choose another place"):
        MaskFile(tmp_path / "mask.tif", (777, 530), "tiff")

    assert not list(tmp_path.iterdir())


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
from segdino_deploy.errors import SegdinoDeployError
from segdino_deploy.tiles import mask_file
from segdino_deploy.tiles.mask_file import MaskFile

def limit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # writing past this fails, as on a full disk

path, mask_format, full_from = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
if full_from == "rows":
    limit()
if full_from == "png":
    convert = mask_file.tiff_to_png
    mask_file.tiff_to_png = lambda *files: (limit(), convert(*files))
values = np.random.default_rng(0).integers(0, 256, (3000, 500), dtype=np.uint8)
try:
    with MaskFile(path, values.shape, mask_format) as file:
        for top in range(0, 3000, 100):
            file.append(values[top : top + 100])
        file.finish()
        file.publish()
except SegdinoDeployError as error:
    print(error)
"""


@pytest.mark.parametrize(("mask_format", "full_from"), [("tiff", "rows"), ("png", "rows"), ("png", "png")])
def test_a_full_disk_is_told_and_nothing_is_left(tmp_path: Path, mask_format: str, full_from: str) -> None:
    path = tmp_path / "mask"

    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path), mask_format, full_from], capture_output=True, text=True, timeout=100
    )

    assert done.stdout == f"no space left to write {path}: free some and run again\n", done.stderr
    assert not list(tmp_path.iterdir())
