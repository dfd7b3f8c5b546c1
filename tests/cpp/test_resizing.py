"""Resizing in C++ is Pillow's, bit for bit."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image

from tests.cpp.building import NativeBuild
from tests.cpp.image_probes import FORMATS, LANES, Float, ImageProbes, UInt8, View, picture, random_region

PILLOW = int(PIL.__version__.partition(".")[0])
FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
WEIGHT_BITS = 22
# Sides around the number of rows and bytes that are worked on side by side, and those of models.
SIDES = (1, 2, 3, 5, 7, 8, 10, 11, 16, 21, 31, 32, 33, 43, 63, 64, 65, 100, 224, 256)


@pytest.fixture(scope="module")
def probes(native_build: NativeBuild) -> ImageProbes:
    return ImageProbes(native_build.probes)


def pillow(values: UInt8 | Float, width: int, height: int, resample: Image.Resampling) -> Any:
    image = Image.fromarray(values)
    if PILLOW < 13 and image.height - height > 2 * max(image.width - width, 0):
        image = image.resize((image.width, height), resample)  # older ones begin with the width
    return np.asarray(image.resize((width, height), resample))


def pillow_rgb(rgb: UInt8, width: int, height: int, resize_filter: str) -> UInt8:
    return pillow(rgb, width, height, FILTERS[resize_filter])


def pillow_mask(mask: UInt8, width: int, height: int) -> UInt8:
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


def pillow_plane(plane: Float, width: int, height: int) -> Float:
    return pillow(plane, width, height, Image.Resampling.BILINEAR)


def resized_rgb(probes: ImageProbes, rgb: UInt8, width: int, height: int, resize_filter: str) -> UInt8:
    return probes.resize_rgb(View(rgb, rgb.shape[1], rgb.shape[0]), width, height, resize_filter)


def assert_same_bits(got: Float, expected: Float) -> None:
    np.testing.assert_array_equal(got.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("resize_filter", FILTERS)
class TestRgb:
    def test_random_sizes_are_resized_as_pillow_does(self, probes: ImageProbes, resize_filter: str) -> None:
        rng = np.random.default_rng(7)
        for case in range(250):
            in_width, in_height, width, height = (int(side) for side in rng.integers(1, 200, 4))
            rgb = rng.integers(0, 256, (in_height, in_width, 3), dtype=np.uint8)
            expected = pillow_rgb(rgb, width, height, resize_filter)
            got = resized_rgb(probes, rgb, width, height, resize_filter)
            np.testing.assert_array_equal(got, expected, f"case {case}: {rgb.shape} to {width}x{height}")

    def test_every_pair_of_sides_is_resized_as_pillow_does(self, probes: ImageProbes, resize_filter: str) -> None:
        rng = np.random.default_rng(8)
        for side, to_side in product(SIDES, SIDES):
            wide = rng.integers(0, 256, (3, side, 3), dtype=np.uint8)
            tall = rng.integers(0, 256, (side, 3, 3), dtype=np.uint8)
            message = f"{side} to {to_side}"
            for rgb, width, height in ((wide, to_side, 3), (tall, 3, to_side), (wide, to_side, 2), (tall, 4, to_side)):
                expected = pillow_rgb(rgb, width, height, resize_filter)
                got = resized_rgb(probes, rgb, width, height, resize_filter)
                np.testing.assert_array_equal(got, expected, message)

    @pytest.mark.parametrize(
        ("in_size", "size"),
        [
            ((1920, 1080), (512, 512)),
            ((1080, 1920), (512, 512)),
            ((1023, 767), (256, 256)),
            ((4000, 3000), (256, 256)),
            ((300, 300), (1024, 768)),
            ((1, 1), (512, 512)),
            ((2, 1), (1, 512)),
            ((65535, 1), (16, 16)),
            ((1, 65535), (16, 16)),
            ((3, 2), (65535, 1)),
            ((2, 3), (1, 65535)),
            ((65535, 2), (65534, 2)),
        ],
    )
    def test_small_and_large_images(
        self, probes: ImageProbes, resize_filter: str, in_size: tuple[int, int], size: tuple[int, int]
    ) -> None:
        rng = np.random.default_rng(9)
        rgb = rng.integers(0, 256, (in_size[1], in_size[0], 3), dtype=np.uint8)
        got = resized_rgb(probes, rgb, *size, resize_filter)
        np.testing.assert_array_equal(got, pillow_rgb(rgb, *size, resize_filter))

    def test_the_order_of_the_passes_changes_where_pillows_does(self, probes: ImageProbes, resize_filter: str) -> None:
        """The height comes first where more than twice as many rows as columns go."""
        rng = np.random.default_rng(16)
        for columns, rows in product((-9, -1, 1, 2, 7, 20), range(-2, 45)):
            rgb = rng.integers(0, 256, (60, 50, 3), dtype=np.uint8)
            width, height = 50 - columns, 60 - rows
            got = resized_rgb(probes, rgb, width, height, resize_filter)
            np.testing.assert_array_equal(got, pillow_rgb(rgb, width, height, resize_filter), f"{columns}, {rows}")

    @pytest.mark.parametrize("size", [(64, 64), (97, 61), (200, 310), (30, 20), (64, 31), (31, 64)])
    def test_black_white_and_checkerboards_which_clip(
        self, probes: ImageProbes, resize_filter: str, size: tuple[int, int]
    ) -> None:
        y, x = np.mgrid[:64, :64]
        for plane in (y * 0, y * 0 + 1, (x + y) % 2, x // 2 % 2, (x // 5 + y // 3) % 2, x > y, x == 32):
            rgb = np.repeat((plane * 255).astype(np.uint8)[:, :, None], 3, axis=2)
            got = resized_rgb(probes, rgb, *size, resize_filter)
            np.testing.assert_array_equal(got, pillow_rgb(rgb, *size, resize_filter))

    @pytest.mark.parametrize("pixel_format", FORMATS)
    def test_formats_gaps_and_regions_change_nothing(
        self, probes: ImageProbes, resize_filter: str, pixel_format: str
    ) -> None:
        rng = np.random.default_rng(10)
        for _ in range(60):
            width, height = (2 * int(half) for half in rng.integers(1, 70, 2))
            region = random_region(rng, width, height) if rng.random() < 0.7 else None
            image = picture(
                rng,
                pixel_format,
                width,
                height,
                gap=int(rng.integers(0, 40)),
                region=region,
                separate_chroma=pixel_format == "nv12" and rng.random() < 0.5,
            )
            size = (int(rng.integers(1, 150)), int(rng.integers(1, 150)))
            height, width = image.rgb.shape[:2]
            for to_width, to_height in (size, (width, size[1]), (size[0], height), (width, height)):
                got = probes.resize_rgb(image.view, to_width, to_height, resize_filter)
                np.testing.assert_array_equal(got, pillow_rgb(image.rgb, to_width, to_height, resize_filter))


def test_all_processors_blend_alike(probes: ImageProbes) -> None:
    rng = np.random.default_rng(11)
    for taps in (0, 1, 2, 3, 4, 5, 17, 300):
        for values in (
            rng.integers(0, 256, (taps, LANES), dtype=np.uint8),
            np.full((taps, LANES), 255, np.uint8),
            (rng.integers(0, 2, (taps, LANES)) * 255).astype(np.uint8),
        ):
            # Sums on both sides of 0 to 255, up to where they leave 32 bits.
            weights = rng.uniform(-1, 1.5, taps)
            weights *= min(1.0, 2 / max(np.abs(weights).sum(), 1e-9)) * 2**WEIGHT_BITS
            fixed = [int(weight) for weight in weights]
            sums = values.astype(np.int64).T @ np.array(fixed, np.int64) + (1 << (WEIGHT_BITS - 1))
            expected = np.clip(sums >> WEIGHT_BITS, 0, 255).astype(np.uint8)
            for variant in range(probes.variants):
                np.testing.assert_array_equal(probes.blend(variant, values, fixed), expected, f"variant {variant}")


class TestMask:
    def test_random_sizes_are_resized_as_pillow_does(self, probes: ImageProbes) -> None:
        rng = np.random.default_rng(12)
        for _ in range(400):
            in_width, in_height, width, height = (int(side) for side in rng.integers(1, 300, 4))
            mask = rng.integers(0, 256, (in_height, in_width), dtype=np.uint8)
            np.testing.assert_array_equal(
                probes.resize_mask(mask, width, height), pillow_mask(mask, width, height), f"{mask.shape}"
            )

    def test_every_pair_of_sides_up_to_128(self, probes: ImageProbes) -> None:
        """Positions on the border of two pixels are common here."""
        for side in range(1, 129):
            row = np.arange(side, dtype=np.uint8)[None]
            for to_side in range(1, 129):
                np.testing.assert_array_equal(
                    probes.resize_mask(row, to_side, 1), pillow_mask(row, to_side, 1), f"{side} to {to_side}"
                )

    @pytest.mark.parametrize("side", [1, 16, 224, 256, 512, 518, 1024, 65535])
    @pytest.mark.parametrize("to_side", [1, 333, 1080, 1920, 3000, 3840, 4096, 6000, 65534, 65535])
    def test_large_sides(self, probes: ImageProbes, side: int, to_side: int) -> None:
        row = np.random.default_rng(side).integers(0, 256, (1, side), dtype=np.uint8)
        np.testing.assert_array_equal(probes.resize_mask(row, to_side, 1), pillow_mask(row, to_side, 1))
        column = np.ascontiguousarray(row.T)
        np.testing.assert_array_equal(probes.resize_mask(column, 1, to_side), pillow_mask(column, 1, to_side))


class TestPlane:
    def test_random_sizes_are_resized_as_pillow_does(self, probes: ImageProbes) -> None:
        rng = np.random.default_rng(13)
        for _ in range(300):
            in_width, in_height, width, height = (int(side) for side in rng.integers(1, 250, 4))
            plane = rng.normal(0, 10, (in_height, in_width)).astype(np.float32)
            assert_same_bits(probes.resize_plane(plane, width, height), pillow_plane(plane, width, height))

    @pytest.mark.parametrize("size", [(1920, 1080), (640, 513), (256, 100), (100, 256), (256, 256), (1, 1), (1500, 1)])
    def test_large_sizes(self, probes: ImageProbes, size: tuple[int, int]) -> None:
        plane = np.random.default_rng(14).random((256, 256), dtype=np.float32)
        assert_same_bits(probes.resize_plane(plane, *size), pillow_plane(plane, *size))

    def test_extremes(self, probes: ImageProbes) -> None:
        """Sums that overflow float, denormal numbers, both zeros and infinities."""
        rng = np.random.default_rng(15)
        limits = np.finfo(np.float32)
        values = np.array([0.0, -0.0, limits.max, limits.min, limits.tiny, limits.smallest_subnormal, np.inf, 1, -1])
        for size in ((9, 9), (20, 30), (5, 3), (40, 4), (4, 40)):
            plane = rng.choice(values, (9, 9)).astype(np.float32)
            got, expected = probes.resize_plane(plane, *size), pillow_plane(plane, *size)
            np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
            numbers = ~np.isnan(expected)
            assert_same_bits(got[numbers], expected[numbers])
