"""Image files that clients send: what is refused before it costs anything, and what is read though it is odd."""

from __future__ import annotations

import io
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image, ImageFile

from segdino_deploy.engines.run import Runner
from segdino_deploy.errors import InputError
from segdino_deploy.images import read_rgb
from segdino_deploy.manifest import ModelCard
from segdino_deploy.serve.options import ServeOptions
from segdino_deploy.serve.picture import read_picture
from tests.serve.conftest import Address, encoded, serving

MAX_PIXELS = 300 * 400


@pytest.fixture(scope="module")
def server(polyp: Runner) -> Iterator[Address]:
    with serving({"polyp": polyp}, ServeOptions(max_pixels=MAX_PIXELS)) as address:
        yield address


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG by hand, whose header may say anything."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def webp(side: int) -> bytes:
    """A lossless WebP whose header says `side` x `side`, at most 16383, and whose data end there."""
    bits = (side - 1) | (side - 1) << 14
    data = b"\x2f" + struct.pack("<I", bits)
    chunk = b"VP8L" + struct.pack("<I", len(data)) + data + b"\0"
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def tiled_tiff(side: int, tile: int) -> bytes:
    """A black TIFF of `side` x `side` pixels in one compressed tile of `tile` x `tile`, as one IFD without extras."""
    data = zlib.compress(bytes(tile * tile * 3))
    shorts = {259: 8, 262: 2, 277: 3}  # deflate, RGB, samples
    longs = {256: side, 257: side, 322: tile, 323: tile, 325: len(data)}
    behind = 8 + 2 + 12 * (len(shorts) + len(longs) + 2) + 4  # header, count, entries, no next IFD
    longs[324] = behind + 6
    entries = {tag: struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in shorts.items()}
    entries |= {tag: struct.pack("<HHII", tag, 4, 1, value) for tag, value in longs.items()}
    entries[258] = struct.pack("<HHII", 258, 3, 3, behind)  # bits of the samples: too many for the entry itself
    ifd = struct.pack("<H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8) + ifd + struct.pack("<HHH", 8, 8, 8) + data


OURS, PILLOWS = f"{MAX_PIXELS} at most", "exceeds limit of"


@pytest.mark.parametrize(
    ("bomb", "says"),
    [
        pytest.param(png(30_000, 30_000, zlib.compress(bytes(10**7), 9)), PILLOWS, id="png"),
        pytest.param(png(2**31 - 1, 2**31 - 1), PILLOWS, id="png-of-impossible-size"),
        pytest.param(png(10_000, 8_000, zlib.compress(bytes(10**7), 9)), OURS, id="png-that-pillow-takes"),
        pytest.param(webp(16383), PILLOWS, id="webp"),
        pytest.param(encoded("png", (401, 300)), OURS, id="one-column-too-many"),
        pytest.param(encoded("jpeg", (401, 300)), OURS, id="jpeg"),
        pytest.param(encoded("tiff", (401, 300), compression="tiff_deflate"), OURS, id="tiff"),
        pytest.param(encoded("bmp", (401, 300)), OURS, id="bmp"),
        pytest.param(encoded("webp", (401, 300)), OURS, id="webp-small"),
        pytest.param(tiled_tiff(16, 6400), OURS, id="tiff-of-one-large-tile"),
    ],
)
def test_an_image_of_too_many_pixels_is_refused_by_its_header(bomb: bytes, says: str, server: Address) -> None:
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    answer = httpx.post(server("/v1/segment"), content=bomb)

    assert answer.status_code == 413
    assert says in answer.json()["error"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 100 * 2**10  # decoded: 240 MiB and more


def test_an_image_of_just_as_many_pixels_is_taken(server: Address) -> None:
    assert httpx.post(server("/v1/segment"), content=encoded("png", (400, 300))).status_code == 200


def test_a_tile_may_be_larger_than_its_image(card: ModelCard) -> None:
    picture = read_picture(tiled_tiff(16, 256), card, MAX_PIXELS)

    assert picture.source_size == (16, 16)
    assert not picture.sized.any()


def changed(kind: str, data: bytes) -> bytes:
    return {"cut": data[: len(data) // 2], "zeros": data[:60] + bytes(len(data) - 60)}[kind]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param(b"", "the body is empty", id="nothing"),
        pytest.param(b"hello", "not an image that can be read (PNG, JPEG, TIFF, BMP, WEBP)", id="text"),
        pytest.param(b"GIF89a" + bytes(100), "not an image that can be read", id="gif"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image that can be read", id="eps"),
        pytest.param(changed("cut", encoded("png")), "damaged", id="png-cut"),
        pytest.param(changed("cut", encoded("jpeg")), "damaged", id="jpeg-cut"),
        pytest.param(changed("cut", encoded("bmp")), "damaged", id="bmp-cut"),
        pytest.param(changed("cut", encoded("tiff")), "", id="tiff-cut"),
        pytest.param(changed("cut", encoded("webp")), "", id="webp-cut"),
        pytest.param(changed("zeros", encoded("png")), "not an image that can be read", id="png-zeros"),
        pytest.param(png(10, 10, b"not zlib"), "damaged", id="png-of-nothing"),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(body: bytes, says: str, server: Address) -> None:
    answer = httpx.post(server("/v1/segment"), content=body)

    assert answer.status_code == 400
    assert says in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_more_than_eight_bits_are_refused_as_predict_does(server: Address) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((20, 20), 40_000, np.uint16)).save(buffer, "png")

    answer = httpx.post(server("/v1/segment"), content=buffer.getvalue())

    assert (answer.status_code, "16-bit pixels" in answer.json()["error"]) == (400, True)


def odd_photo(kind: str) -> bytes:
    """To be turned clockwise by its EXIF, where a field has another type than the standard's: cameras write that."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x8825] = {0x02: (1.0, 2.0, 3.0)}  # a latitude, three fractions
    latitude, map_datum = (bytes((0, tag, 0, 5, 0, 0, 0, 3)) for tag in (0x02, 0x12))  # of which one should be text
    assert exif.tobytes().count(latitude) == 1
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20)).save(buffer, kind, exif=exif.tobytes().replace(latitude, map_datum))
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["jpeg", "webp", "png"])
def test_a_photo_is_turned_upright_whatever_else_its_exif_says(kind: str, card: ModelCard, tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(odd_photo(kind))

    assert read_picture(odd_photo(kind), card, MAX_PIXELS).source_size == (30, 20)
    assert read_rgb(tmp_path / "photo").shape == (30, 20, 3)


def test_whatever_a_decoder_stumbles_over_is_told_in_one_line(
    card: ModelCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(_: object) -> None:
        raise TypeError("three values\nwere given")

    monkeypatch.setattr(ImageFile.ImageFile, "load", stumble)
    (tmp_path / "photo").write_bytes(encoded("png"))

    with pytest.raises(InputError, match=r"^the image: damaged image \(three values\)$"):
        read_picture(encoded("png"), card, MAX_PIXELS)
    with pytest.raises(InputError, match=r"photo: damaged image \(three values\)$"):
        read_rgb(tmp_path / "photo")


MEASURE = """
import sys
from segdino_deploy.images import decode_rgb

def peak_kib():  # of this program alone: what `resource` tells begins with its parent's
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

decode_rgb(sys.argv[1], "the small one")
before_kib = peak_kib()
pixels = decode_rgb(sys.argv[2], "the large one").size / 3
print((peak_kib() - before_kib) * 1024 / pixels)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a program's peak")
@pytest.mark.parametrize(("kind", "bytes_per_pixel"), [("png", 10), ("webp", 18)])  # webp: the most of all formats
def test_a_large_image_takes_no_more_memory_than_is_said(kind: str, bytes_per_pixel: int, tmp_path: Path) -> None:
    """Its pixels in four bytes, turned upright, in three bytes, and what the decoder has beside them."""
    for name, size_wh in (("small", (40, 30)), ("large", (4000, 3000))):
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", size_wh, (200, 10, 10)).save(tmp_path / name, kind, exif=exif)

    call = [sys.executable, "-c", MEASURE, tmp_path / "small", tmp_path / "large"]
    measured = float(subprocess.run(call, capture_output=True, text=True, check=True).stdout)
    assert 7 < measured < bytes_per_pixel + 2


def test_too_little_memory_is_no_fault_of_the_image(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)

    with pytest.raises(MemoryError):
        read_picture(encoded("png"), card, MAX_PIXELS)
