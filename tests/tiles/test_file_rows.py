"""Files read in rows must be what Pillow reads whole: Pillow is what training used."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from segdino_deploy.canary import synthetic_image
from segdino_deploy.errors import InputError, MissingComponent, SegdinoDeployError
from segdino_deploy.images import read_rgb
from segdino_deploy.tiles.file_rows import VipsRows, WholeRows, open_rows
from segdino_deploy.tiles.rows import RowSource
from tests.permissions import unprivileged

PIXELS = synthetic_image((70, 110), seed=1)
PICTURE = Image.fromarray(PIXELS)
Save = Callable[[Path], object]


def read_all(source: RowSource, step: int = 17) -> np.ndarray:
    height = source.size_hw[0]
    return np.concatenate([source.read(min(step, height - top)) for top in range(0, height, step)])


def with_alpha(mode: str) -> Image.Image:
    picture = PICTURE.convert(mode)
    picture.putalpha(Image.linear_gradient("L").resize(PICTURE.size))
    return picture


def tiff(array: np.ndarray, **options: object) -> Save:
    return lambda path: tifffile.imwrite(path, array, **options)  # type: ignore[arg-type]


STREAMED: dict[str, Save] = {
    "rgb.png": PICTURE.save,
    "rgb.tif": PICTURE.save,
    "rgb.jpg": PICTURE.save,
    "subsampled.jpg": lambda path: PICTURE.save(path, subsampling=2, quality=60),
    "grey.png": PICTURE.convert("L").save,
    "grey.jpg": PICTURE.convert("L").save,
    "grey.tif": PICTURE.convert("L").save,
    "grey_alpha.png": with_alpha("L").save,
    "alpha.png": with_alpha("RGB").save,
    "alpha.tif": with_alpha("RGB").save,
    "transparent_colour.png": lambda path: PICTURE.save(path, transparency=(1, 2, 3)),
    "palette.png": PICTURE.convert("P").save,
    "palette.tif": PICTURE.convert("P").save,
    "palette_of_4.png": lambda path: PICTURE.quantize(4).save(path, bits=2),
    "bits.png": PICTURE.convert("1").save,
    "bits.tif": lambda path: PICTURE.convert("1").save(path, compression="group4"),
    "cmyk.tif": PICTURE.convert("CMYK").save,
    "cmyk.jpg": PICTURE.convert("CMYK").save,
    "lzw.tif": lambda path: PICTURE.save(path, compression="tiff_lzw"),
    "jpeg.tif": lambda path: PICTURE.save(path, compression="jpeg"),
    "tiles.tif": tiff(PIXELS, tile=(32, 48), compression="zlib"),
    "big.tif": tiff(PIXELS, bigtiff=True, tile=(16, 16), compression="zlib"),
    "one_strip.tif": tiff(PIXELS, rowsperstrip=70, compression="zlib"),
    "planes.tif": tiff(np.ascontiguousarray(PIXELS.transpose(2, 0, 1)), photometric="rgb", planarconfig="separate"),
    "white_is_zero.tif": tiff(PIXELS[..., 0], photometric="miniswhite"),
    "pages.tif": tiff(np.stack([PIXELS, PIXELS[::-1]]), photometric="rgb"),
}
WHOLE: dict[str, Save] = {
    "progressive.jpg": lambda path: PICTURE.save(path, progressive=True),
    "lossless.webp": lambda path: PICTURE.save(path, lossless=True),
    "rgb.bmp": PICTURE.save,
    "ycbcr.tif": tiff(PIXELS, photometric="ycbcr", subsampling=(1, 1)),
}


@pytest.mark.parametrize("name", [*STREAMED, *WHOLE])
def test_every_kind_of_file_has_pillows_pixels(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    (STREAMED | WHOLE)[name](path)

    source = open_rows(path)

    assert isinstance(source, VipsRows) == (name in STREAMED)
    np.testing.assert_array_equal(read_all(source), read_rgb(path))


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_stored_turned_are_read_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    path = tmp_path / f"turned.{suffix}"
    exif = Image.Exif()
    exif[0x112] = orientation
    PICTURE.save(path, **({"tiffinfo": {0x112: orientation}} if suffix == "tif" else {"exif": exif}))  # type: ignore[arg-type]

    source = open_rows(path)

    assert source.size_hw == ((110, 70) if orientation > 4 else (70, 110))
    np.testing.assert_array_equal(read_all(source), read_rgb(path))


def test_a_progressive_image_stored_on_its_side_has_its_upright_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    PICTURE.save(tmp_path / "x.jpg", progressive=True, exif=exif)

    source = open_rows(tmp_path / "x.jpg")

    assert isinstance(source, WholeRows) and source.size_hw == (110, 70)
    np.testing.assert_array_equal(read_all(source), read_rgb(tmp_path / "x.jpg"))


def test_names_that_libvips_would_read_as_options_are_names(tmp_path: Path) -> None:
    path = tmp_path / "slide[page=3].tif"
    PICTURE.save(path)

    np.testing.assert_array_equal(read_all(open_rows(path)), PIXELS)


@pytest.mark.parametrize(
    ("name", "save", "message"),
    [
        ("deep.tif", tiff(PIXELS.astype(np.uint16), photometric="rgb"), "16-bit pixels; convert to 8-bit"),
        ("deep.png", Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 200).save, "16-bit pixels; convert to 8-bit"),
        ("float.tif", tiff(PIXELS[..., 0].astype(np.float32)), "float pixels; convert to 8-bit"),
        ("bands.tif", tiff(np.dstack([PIXELS, PIXELS[..., :2]]), planarconfig="contig"), "5 channels of"),
        ("text.png", lambda path: path.write_text("no image"), "not an image that can be read"),
        ("empty.tif", lambda path: path.write_bytes(b""), "not an image that can be read"),
        ("folder.tif", Path.mkdir, "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path, name: str, save: Save, message: str) -> None:
    save(tmp_path / name)

    with pytest.raises(InputError, match=f"{name}: {message}"):
        open_rows(tmp_path / name)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.tif: no such file"):
        open_rows(tmp_path / "absent.tif")


def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = tmp_path / "secret.tif"
    PICTURE.save(path)
    path.chmod(0)

    with unprivileged(), pytest.raises(InputError, match=r"secret\.tif: no permission to read it"):
        open_rows(path)


UNPACKED = """
import resource, sys
from pathlib import Path
from segdino_deploy.errors import SegdinoDeployError
from segdino_deploy.tiles.file_rows import open_rows

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), -1))
try:
    print(open_rows(Path(sys.argv[1])).read(5).shape)
except SegdinoDeployError as error:
    print(error)
"""


@pytest.mark.parametrize("is_full", [False, True])
def test_a_large_image_stored_turned_is_unpacked_on_disk(tmp_path: Path, is_full: bool) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    path = tmp_path / "turned.jpg"
    Image.fromarray(np.zeros((300, 400, 3), np.uint8)).save(path, exif=exif)
    limit_bytes = 100_000 if is_full else 400_000  # 360 KB unpacked

    done = subprocess.run(
        [sys.executable, "-c", UNPACKED, str(path), str(limit_bytes)],
        capture_output=True,
        text=True,
        env={**os.environ, "VIPS_DISC_THRESHOLD": "100k", "TMPDIR": str(tmp_path)},  # 100 MB unless told otherwise
    )

    told = f"no space left to unpack {path}, which is stored turned: free some, or set TMPDIR"
    assert done.stdout == (f"{told}\n" if is_full else "(5, 300, 3)\n"), done.stderr
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["tiles.tif", "strips.tif", "rgb.png", "rgb.jpg"])
def test_a_truncated_file_is_refused_when_its_rows_are_missing(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 500, 3), dtype=np.uint8)
    path = tmp_path / name
    if name == "tiles.tif":
        tifffile.imwrite(path, noise, tile=(64, 64), compression="zlib")
    elif name == "strips.tif":
        tifffile.imwrite(path, noise, rowsperstrip=16, compression="zlib")
    else:
        Image.fromarray(noise).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])

    source = open_rows(path)
    first = source.read(100)

    assert first.shape == (100, 500, 3)
    with pytest.raises(InputError, match=rf"{name}: damaged image \(.+\)"):
        for _ in range(5):
            source.read(100)


def test_a_tiff_with_a_damaged_tile_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, noise, tile=(64, 64), compression="zlib")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    path.write_bytes(data)

    with pytest.raises(InputError, match=r"x\.tif: damaged image"):
        read_all(open_rows(path), 64)


@pytest.mark.parametrize("name", ["progressive.jpg", "lossless.webp"])
def test_what_must_be_decoded_whole_has_pillows_limit(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    WHOLE[name](path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 70 * 110 // 2 - 1)

    with pytest.raises(InputError, match=f"{name}: 70x110 pixels that can only be decoded whole .* tiled TIFF"):
        open_rows(path)


def test_what_is_streamed_has_no_such_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PICTURE.save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

    np.testing.assert_array_equal(read_all(open_rows(tmp_path / "x.png")), PIXELS)


def test_a_tiff_whose_one_tile_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    """A small file that claims one tile of 12 GB: neither libvips nor Pillow may try."""
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(path, shape=(64, 64, 3), dtype=np.uint8, tile=(64, 64), photometric="rgb")
    with tifffile.TiffFile(path, mode="r+") as file:
        for name in ("ImageWidth", "ImageLength", "TileWidth", "TileLength"):
            file.pages.first.tags[name].overwrite(65536, dtype="I")

    with pytest.raises(InputError, match=r"bomb\.tif: too many pixels .* \(.*tile size out of range\); save it as"):
        open_rows(path)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damaged tags
@pytest.mark.parametrize("name", [*STREAMED, *WHOLE])
def test_a_damaged_file_raises_nothing_but_our_errors(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    (STREAMED | WHOLE)[name](path)
    sound = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(10):
        damaged = bytearray(sound)
        for position in rng.integers(0, min(len(sound), 500), 4):
            damaged[position] = damaged[-1 - position] = rng.integers(0, 256)
        path.write_bytes(damaged)
        with suppress(SegdinoDeployError):
            source = open_rows(path)
            height, width = source.size_hw
            source.read(min(height, 10_000_000 // width + 1))


def test_without_libvips_the_cure_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PICTURE.save(tmp_path / "x.png")
    monkeypatch.setattr("segdino_deploy.requirements.has_module", lambda name: name != "pyvips")

    with pytest.raises(MissingComponent, match=r"pyvips is not installed; pip install 'segdino-deploy\[large\]'"):
        open_rows(tmp_path / "x.png")
