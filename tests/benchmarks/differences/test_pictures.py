"""The pictures, pixel by pixel, on masks of 9x9 pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from segdino_deploy.benchmarks.differences.pictures import (
    ADDED,
    LOST,
    draw_disagreement,
    legend,
    safe_name,
    write_pictures,
)
from segdino_deploy.images import overlay, palette, read_rgb

UInt8 = NDArray[np.uint8]
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def grey_image(size: int = 9, value: int = 255) -> UInt8:
    return np.full((size, size, 3), value, np.uint8)


def mask(*pixels: tuple[int, int, int], size: int = 9) -> UInt8:
    """Background but for (row, column, class)."""
    result = np.zeros((size, size), np.uint8)
    for row, column, value in pixels:
        result[row, column] = value
    return result


def assert_square(picture: UInt8, centre: tuple[int, int], colours: tuple[tuple[int, ...], ...]) -> None:
    """A pixel with one-pixel rims: `colours` from the pixel outwards."""
    row, column = centre
    for distance, colour in reversed(list(enumerate(colours))):
        ring = [
            (y, x)
            for y in range(row - distance, row + distance + 1)
            for x in range(column - distance, column + distance + 1)
            if max(abs(y - row), abs(x - column)) == distance
        ]
        assert {tuple(int(v) for v in picture[y, x]) for y, x in ring} == {colour}, distance


def test_a_single_added_pixel_is_a_square_of_five() -> None:
    picture = draw_disagreement(grey_image(), mask(), mask((4, 4, 1)), 1)

    assert_square(picture, (4, 4), (*ADDED, (176, 176, 176)))
    assert ADDED[2] == WHITE


def test_a_single_lost_pixel_has_the_other_colour_and_the_other_rim() -> None:
    picture = draw_disagreement(grey_image(), mask((4, 4, 1)), mask(), 1)

    assert_square(picture, (4, 4), (*LOST, (176, 176, 176)))
    assert LOST[2] == BLACK


def test_pixels_that_agree_are_grey_whatever_their_class() -> None:
    image = np.zeros((9, 9, 3), np.uint8)
    image[0] = (255, 0, 0)
    both = mask((4, 4, 1), (0, 0, 1))

    picture = draw_disagreement(image, both, both, 1)

    # 56 + 120 * 0.299 = 91.88 for red, 56 for black
    assert np.all(picture[0] == 92)
    assert np.all(picture[1:] == 56)


def test_no_rim_covers_a_pixel_that_differs() -> None:
    rng = np.random.default_rng(0)
    reference, engine = (rng.integers(0, 2, (40, 40), dtype=np.uint8) for _ in range(2))

    picture = draw_disagreement(grey_image(40), reference, engine, 1)

    assert np.all(picture[(engine == 1) & (reference == 0)] == ADDED[0])
    assert np.all(picture[(engine == 0) & (reference == 1)] == LOST[0])


def test_of_several_classes_a_pixel_has_the_colour_of_the_engines_class() -> None:
    reference, engine = mask((2, 2, 1), size=16), mask((2, 2, 2), (10, 10, 3), size=16)

    picture = draw_disagreement(grey_image(16), reference, engine, 4)

    colours = [tuple(int(v) for v in colour) for colour in palette(4)]
    assert_square(picture, (2, 2), (colours[1], WHITE, BLACK))
    assert_square(picture, (10, 10), (colours[2], WHITE, BLACK))


def test_of_several_classes_the_background_is_black() -> None:
    picture = draw_disagreement(grey_image(), mask((4, 4, 2)), mask(), 3)

    assert_square(picture, (4, 4), (BLACK, WHITE, BLACK, (176, 176, 176)))


def test_rims_are_wider_on_larger_images() -> None:
    picture = draw_disagreement(grey_image(512), mask(size=512), mask((100, 100, 1), size=512), 1)

    outer, inner, white = ADDED
    found = [tuple(int(v) for v in picture[100, 100 + distance]) for distance in range(6)]
    assert found == [outer, inner, inner, white, white, (176, 176, 176)]


@pytest.mark.parametrize("corner", [(0, 0), (0, 8), (8, 0), (8, 8)])
def test_a_pixel_in_the_corner_is_marked(corner: tuple[int, int]) -> None:
    picture = draw_disagreement(grey_image(), mask(), mask((*corner, 1)), 1)

    assert tuple(picture[corner]) == ADDED[0]
    assert (picture == ADDED[1]).all(axis=2).sum() == 3
    assert (picture == ADDED[2]).all(axis=2).sum() == 5


def test_the_legend_says_what_the_colours_are() -> None:
    assert all(word in legend(1) for word in ("Orange", "white rim", "adds", "blue", "black rim", "loses"))
    assert "engine's class" in legend(3)


def test_files_are_where_the_paths_say(tmp_path: Path) -> None:
    image, reference, engine, truth = grey_image(), mask((4, 4, 1)), mask((4, 5, 1)), mask((5, 5, 1))

    paths = write_pictures(tmp_path, "openvino-int8", 2, "test/a b.png", image, reference, engine, truth, 1)

    assert paths.reference == "images/openvino-int8/2-test_a_b-reference.png"
    np.testing.assert_array_equal(read_rgb(tmp_path / paths.reference), overlay(image, reference))
    np.testing.assert_array_equal(read_rgb(tmp_path / paths.engine), overlay(image, engine))
    assert paths.truth is not None
    np.testing.assert_array_equal(read_rgb(tmp_path / paths.truth), overlay(image, truth))
    np.testing.assert_array_equal(
        read_rgb(tmp_path / paths.disagreement), draw_disagreement(image, reference, engine, 1)
    )
    assert len(list(tmp_path.rglob("*"))) == 2 + 4  # two folders, four files, nothing temporary


def test_without_truth_there_is_no_picture_of_it(tmp_path: Path) -> None:
    paths = write_pictures(tmp_path, "e", 1, "a.png", grey_image(), mask(), mask((1, 1, 1)), None, 1)

    assert paths.truth is None
    assert len(list(tmp_path.rglob("*.png"))) == 3


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("video 1/0001", "video_1_0001"),
        ("Müller-Lüdenscheidt", "Muller-Ludenscheidt"),
        ("../../etc/passwd", "etc_passwd"),
        ("画像", "image"),
        ('a"b<c>&?#%d', "a_b_c_d"),
        ("-rf", "rf"),
        (".hidden", "hidden"),
        ("v1.5_b", "v1.5_b"),
        ("x" * 100 + "_0042", "x" * 55 + "_0042"),
    ],
)
def test_names_are_safe_everywhere(name: str, expected: str) -> None:
    assert safe_name(name) == expected


def test_images_of_one_safe_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    for number, name in enumerate(("画.png", "像.png"), start=1):
        write_pictures(tmp_path, "e", number, name, grey_image(), mask(), mask((1, 1, 1)), None, 1)

    assert len(list(tmp_path.rglob("*-disagreement.png"))) == 2
