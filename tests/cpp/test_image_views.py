"""The caller's pixels: what is refused, and in which words; how every format becomes RGB; what is never read."""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.cpp.building import ROOT, NativeBuild
from tests.cpp.image_probes import (
    BYTES,
    FORMATS,
    LANES,
    Checked,
    ImageProbes,
    Refused,
    UInt8,
    View,
    picture,
    random_region,
)

SIZE_MAX = ctypes.c_size_t(-1).value
INT_MAX = 2**31 - 1
INT_MIN = -(2**31)
SOMEWHERE = 4096  # an address: checking a view reads none of its pixels


@pytest.fixture(scope="module")
def probes(native_build: NativeBuild) -> ImageProbes:
    return ImageProbes(native_build.probes)


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (View(SOMEWHERE, 5, 4), Checked(0, 15, 0, (0, 0, 5, 4))),
        (View(SOMEWHERE, 5, 4, "bgra", stride=20), Checked(0, 20, 0, (0, 0, 5, 4))),
        (View(SOMEWHERE, 5, 4, "grey", stride=64, region=(1, 2, 4, 2)), Checked(0, 64, 0, (1, 2, 4, 2))),
        (View(SOMEWHERE, 6, 4, "nv12"), Checked(24, 6, 6, (0, 0, 6, 4))),
        (View(SOMEWHERE, 6, 4, "nv12", stride=10), Checked(40, 10, 10, (0, 0, 6, 4))),
        (View(SOMEWHERE, 6, 4, "nv12", chroma=SOMEWHERE + 99, chroma_stride=8), Checked(99, 6, 8, (0, 0, 6, 4))),
        (View(SOMEWHERE, 65535, 65535, region=(65534, 65534, 1, 1)), Checked(0, 196605, 0, (65534, 65534, 1, 1))),
    ],
)
def test_defaults_are_filled_in(probes: ImageProbes, view: View, expected: Checked) -> None:
    assert probes.check_view(view) == expected


@pytest.mark.parametrize(
    ("view", "message", "expected", "got"),
    [
        (
            View(0, 256, 256),
            "image: data is null: a pointer to the first row is expected",
            "a pointer",
            "null",
        ),
        (
            View(SOMEWHERE, 0, 256),
            "image: the size is 0x256: 1 to 65535 pixels are expected each way",
            "1 to 65535",
            "0x256",
        ),
        (
            View(SOMEWHERE, 256, 65536),
            "image: the size is 256x65536: 1 to 65535 pixels are expected each way",
            "1 to 65535",
            "256x65536",
        ),
        (
            View(SOMEWHERE, INT_MIN, INT_MAX),
            f"image: the size is {INT_MIN}x{INT_MAX}: 1 to 65535 pixels are expected each way",
            "1 to 65535",
            f"{INT_MIN}x{INT_MAX}",
        ),
        (
            View(SOMEWHERE, 256, 256, stride=100),
            "image: stride is 100 bytes: at least 768 (256 pixels of 3 bytes) is expected",
            "at least 768",
            "100",
        ),
        (
            View(SOMEWHERE, 256, 256, "grey", stride=255),
            "image: stride is 255 bytes: at least 256 (256 pixels of 1 byte) is expected",
            "at least 256",
            "255",
        ),
        (
            View(SOMEWHERE, 256, 256, stride=SIZE_MAX),
            f"image: stride is {SIZE_MAX} bytes: 256 such rows are larger than the address space",
            f"at most {SIZE_MAX // 4 // 256}",
            f"{SIZE_MAX}",
        ),
        (
            View(SOMEWHERE, 256, 256, "nv12", chroma_stride=255),
            "image: chroma_stride is 255 bytes: at least 256 (128 pairs of 2 bytes) is expected",
            "at least 256",
            "255",
        ),
        (
            View(SOMEWHERE, 256, 256, "nv12", chroma_stride=2**62),
            f"image: chroma_stride is {2**62} bytes: 128 such rows are larger than the address space",
            f"at most {SIZE_MAX // 4 // 128}",
            f"{2**62}",
        ),
        (
            View(SOMEWHERE, 255, 256, "nv12"),
            "image: nv12 of 255x256 pixels: an even width and height are expected",
            "even",
            "255x256",
        ),
        (
            View(SOMEWHERE, 256, 1, "nv12"),
            "image: nv12 of 256x1 pixels: an even width and height are expected",
            "even",
            "256x1",
        ),
        (
            View(SOMEWHERE, 256, 256, 6),
            "image: pixel format 6 is not known: 0 (rgb) to 5 (nv12) are",
            "0 to 5",
            "6",
        ),
        (
            View(SOMEWHERE, 256, 256, region=(200, 0, 100, 10)),
            "image: the region of 100x10 at x 200, y 0 is not inside 256x256 pixels",
            "inside 256x256",
            "100x10 at x 200, y 0",
        ),
    ],
)
def test_a_refused_view_says_what_is_expected(
    probes: ImageProbes, view: View, message: str, expected: str, got: str
) -> None:
    with pytest.raises(Refused) as refused:
        probes.check_view(view)
    assert (str(refused.value), refused.value.expected, refused.value.got) == (message, expected, got)


@pytest.mark.parametrize(
    "region",
    [
        (-1, 0, 5, 5),
        (0, -1, 5, 5),
        (0, 0, 0, 5),
        (0, 0, 5, 0),
        (0, 0, 101, 5),
        (0, 0, 5, 51),
        (100, 0, 1, 1),
        (0, 50, 1, 1),
        (96, 0, 5, 5),
        (1, 1, INT_MAX, 1),
        (INT_MAX, INT_MAX, INT_MAX, INT_MAX),
        (INT_MIN, INT_MIN, INT_MIN, INT_MIN),
        (0, 0, -5, -5),
    ],
)
def test_a_region_outside_the_image_is_refused(probes: ImageProbes, region: tuple[int, int, int, int]) -> None:
    with pytest.raises(Refused, match="is not inside 100x50 pixels"):
        probes.check_view(View(SOMEWHERE, 100, 50, region=region))


@pytest.mark.parametrize("format_number", [-1, 6, 7, INT_MAX, INT_MIN])
def test_an_unknown_format_is_refused(probes: ImageProbes, format_number: int) -> None:
    with pytest.raises(Refused, match=f"pixel format {format_number} is not known"):
        probes.check_view(View(SOMEWHERE, 100, 50, format_number))


def test_hostile_values_never_pass_as_an_image_that_wraps_around(probes: ImageProbes) -> None:
    rng = np.random.default_rng(20)
    ints = [INT_MIN, -1, 0, 1, 2, 100, 65534, 65535, 65536, INT_MAX]
    sizes = [0, 1, 299, 300, 65535, SIZE_MAX // 65535, SIZE_MAX // 4, SIZE_MAX // 2, SIZE_MAX - 1, SIZE_MAX]
    passed = 0
    for _ in range(3000):
        # Half of them sensible, so that some get past every single check.
        width, height = (int(rng.choice(ints)) if rng.random() < 0.4 else 100 for _ in range(2))
        stride, chroma_stride = (int(rng.choice(sizes)) if rng.random() < 0.4 else 0 for _ in range(2))
        pixel_format = int(rng.integers(-1, 7))
        region: Any = tuple(int(rng.choice(ints)) for _ in range(4)) if rng.random() < 0.3 else None
        view = View(SOMEWHERE, width, height, pixel_format, stride=stride, chroma_stride=chroma_stride, region=region)
        try:
            checked = probes.check_view(view)
        except Refused as error:
            assert "\n" not in str(error) and error.expected and error.got
            continue
        passed += 1
        x, y, region_width, region_height = checked.region
        name = FORMATS[pixel_format]
        assert 1 <= width <= 65535 and 1 <= height <= 65535 and region_width >= 1 and region_height >= 1
        assert x >= 0 and y >= 0 and x + region_width <= width and y + region_height <= height
        assert checked.stride >= width * BYTES[name] and checked.stride * height <= SIZE_MAX // 2
        if name == "nv12":
            assert checked.chroma_offset + checked.chroma_stride * (height // 2) <= SIZE_MAX // 2
    assert passed > 200


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_rows_are_read_as_rgb(probes: ImageProbes, pixel_format: str) -> None:
    rng = np.random.default_rng(21)
    for _ in range(80):
        width, height = (2 * int(half) for half in rng.integers(1, 60, 2))
        image = picture(
            rng,
            pixel_format,
            width,
            height,
            gap=int(rng.integers(0, 20)),
            region=random_region(rng, width, height) if rng.random() < 0.7 else None,
            separate_chroma=pixel_format == "nv12" and rng.random() < 0.5,
        )
        np.testing.assert_array_equal(probes.read_rows(image.view), image.rgb)


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_rows_of_wide_images_are_read_as_rgb(probes: ImageProbes, pixel_format: str) -> None:
    rng = np.random.default_rng(22)
    for width, region in ((4098, None), (65534, (1, 1, 65533, 1)), (1024, (511, 0, 513, 2)), (1200, (3, 1, 1025, 1))):
        image = picture(rng, pixel_format, width, 2, region=region)
        np.testing.assert_array_equal(probes.read_rows(image.view), image.rgb)


@pytest.mark.parametrize("pixel_format", ["rgb", "bgr", "rgba", "bgra", "grey"])
def test_odd_sizes_are_taken(probes: ImageProbes, pixel_format: str) -> None:
    rng = np.random.default_rng(23)
    for width, height in ((1, 1), (3, 1), (1, 3), (33, 31), (101, 7)):
        image = picture(rng, pixel_format, width, height)
        np.testing.assert_array_equal(probes.read_rows(image.view), image.rgb)


def every_nv12_value() -> Iterator[tuple[UInt8, UInt8]]:
    """Every luma with every chroma pair: for each u, rows of luma and chroma of 65536 pixels."""
    luma = np.arange(256, dtype=np.uint8)
    for u in range(256):
        # Two pixels share a pair: lumas 0, 1 with v 0, then 2, 3 with v 0 and so on.
        v = np.repeat(np.arange(256, dtype=np.uint8), 128)
        yield np.tile(luma, 256), np.stack([np.full_like(v, u), v], axis=1).reshape(-1)


def test_every_nv12_value_is_opencvs(probes: ImageProbes) -> None:
    for luma, chroma in every_nv12_value():
        rows = np.concatenate([luma, luma, chroma]).reshape(3, -1)
        expected = cv2.cvtColor(rows, cv2.COLOR_YUV2RGB_NV12)[0].T
        for variant in range(probes.variants):
            np.testing.assert_array_equal(probes.nv12_to_planes(variant, luma, chroma), expected)


class GuardedMemory:
    """Bytes between two pages that nobody may touch: whoever does is ended by the system."""

    def __init__(self, size: int) -> None:
        page = mmap.PAGESIZE
        pages = -(-size // page)
        self._memory = mmap.mmap(-1, (pages + 2) * page)  # never unmapped while a test runs
        self.start = ctypes.addressof(ctypes.c_char.from_buffer(self._memory)) + page
        self.end = self.start + pages * page
        for guard in (self.start - page, self.end):
            assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(page), 0) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="memory is guarded with Linux's mprotect")
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_nothing_outside_the_region_is_read(probes: ImageProbes, pixel_format: str) -> None:
    rng = np.random.default_rng(24)
    pixel = BYTES[pixel_format]
    guarded = GuardedMemory(200 * 300 * pixel)
    chroma = np.zeros(200 * 300, np.uint8)
    for _ in range(60):
        width, height = (2 * int(half) for half in rng.integers(1, 100, 2))
        stride = width * pixel + int(rng.integers(0, 30))
        x, y, region_width, region_height = region = random_region(rng, width, height)
        first = y * stride + x * pixel
        last = (y + region_height - 1) * stride + (x + region_width) * pixel
        views = [(guarded.start - first, chroma.ctypes.data), (guarded.end - last, chroma.ctypes.data)]
        if pixel_format == "nv12":
            # Of the second plane the pairs of the region's pixels are read.
            first = y // 2 * stride + x // 2 * 2
            last = (y + region_height - 1) // 2 * stride + ((x + region_width - 1) // 2 + 1) * 2
            luma = guarded.start
            views += [(luma, guarded.start - first), (luma, guarded.end - last)]
        for data, pairs in views:
            view = View(data, width, height, pixel_format, stride=stride, chroma=pairs, region=region)
            probes.read_rows(view)
            for size in ((9, 7), (region_width, 7), (9, region_height), (region_width, region_height)):
                probes.resize_rgb(view, *size, "bicubic")


def use_everything(library: Path) -> None:
    """Views of all kinds, resized: under the sanitizers, which end the process where they find something."""
    probes = ImageProbes(library)
    rng = np.random.default_rng(25)
    for pixel_format, _ in product(FORMATS, range(25)):
        width, height = (2 * int(half) for half in rng.integers(1, 60, 2))
        region = random_region(rng, width, height)
        image = picture(rng, pixel_format, width, height, gap=int(rng.integers(0, 9)), region=region)
        probes.read_rows(image.view)
        for resize_filter in ("bicubic", "bilinear"):
            for size in ((width, 20), (20, height), (1, 1), (70, 50), (region[2], 5), (5, region[3]), region[2:]):
                probes.resize_rgb(image.view, *size, resize_filter)
    for extreme in (0, 255):
        rgb = np.full((40, 50, 3), extreme, np.uint8)
        probes.resize_rgb(View(rgb, 50, 40), 77, 11, "bicubic")
        luma = np.full(LANES, extreme, np.uint8)
        for variant, pair in product(range(probes.variants), (0, 255)):
            probes.nv12_to_planes(variant, luma, np.full(LANES, pair, np.uint8))
            probes.blend(variant, np.full((3, LANES), extreme, np.uint8), [-(1 << 20), 3 << 21, -(1 << 20)])
    for _ in range(50):
        sizes = [int(side) for side in rng.integers(1, 90, 4)]
        probes.resize_mask(rng.integers(0, 256, sizes[:2], dtype=np.uint8), *sizes[2:])
        probes.resize_plane(rng.random(sizes[:2], dtype=np.float32), *sizes[2:])


def test_the_sanitizers_find_nothing(sanitized_build: NativeBuild) -> None:
    code = "import sys, pathlib, tests.cpp.test_image_views as t; t.use_everything(pathlib.Path(sys.argv[1]))"
    environment = os.environ | sanitized_build.python_environment
    command = [sys.executable, "-c", code, str(sanitized_build.probes)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
