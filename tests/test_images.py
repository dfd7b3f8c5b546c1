"""Reading, resizing and drawing images; Pillow is the oracle for resizing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdino_deploy.errors import InputError
from segdino_deploy.images import (
    image_names,
    list_images,
    overlay,
    read_mask,
    read_rgb,
    read_size,
    resize_mask,
    resize_rgb,
)
from tests.permissions import unprivileged


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_grey_is_repeated_and_alpha_is_dropped(tmp_path: Path) -> None:
    grey, rgba = noise(5, 7), noise(5, 7, 4)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(rgba).save(tmp_path / "rgba.png")

    np.testing.assert_array_equal(read_rgb(tmp_path / "grey.png"), np.stack([grey] * 3, axis=-1))
    np.testing.assert_array_equal(read_rgb(tmp_path / "rgba.png"), rgba[..., :3])


def test_palette_images_give_their_colours_as_image_and_their_indices_as_mask(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1], [2, 1]], dtype=np.uint8), mode="P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.save(tmp_path / "p.png")

    assert read_rgb(tmp_path / "p.png")[1, 0].tolist() == [70, 80, 90]
    assert read_mask(tmp_path / "p.png").tolist() == [[0, 1], [2, 1]]


def test_sixteen_bit_images_are_refused_in_one_line(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(tmp_path / "ct.png")

    with pytest.raises(InputError, match=r"ct\.png: 16-bit pixels; convert to 8-bit"):
        read_rgb(tmp_path / "ct.png")


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate 90 degrees clockwise to view
    Image.fromarray(noise(20, 30, 3)).save(tmp_path / "phone.jpg", exif=exif)

    assert read_rgb(tmp_path / "phone.jpg").shape == (30, 20, 3)


@pytest.mark.parametrize(("content", "reason"), [(b"hello", "not an image"), (None, "damaged image")])
def test_unreadable_images_are_one_line(content: bytes | None, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    if content is None:
        Image.fromarray(noise(50, 50, 3)).save(path)
        content = path.read_bytes()[:2000]
    path.write_bytes(content)

    with pytest.raises(InputError, match=rf"x\.png: {reason}"):
        read_rgb(path)


def test_empty_folders_and_missing_paths_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(InputError, match="holds no images"):
        list_images(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        list_images(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["bicubic", "bilinear"])
def test_resizing_is_pillows_antialiased_filter(name: str) -> None:
    image = noise(37, 61, 3)
    resample = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}[name]

    expected = np.asarray(Image.fromarray(image).resize((32, 16), resample))

    np.testing.assert_array_equal(resize_rgb(image, (16, 32), name), expected)


def test_masks_are_resized_without_new_values() -> None:
    mask = np.array([[0, 2], [1, 3]], dtype=np.uint8)

    assert resize_mask(mask, (4, 4)).tolist() == [[0, 0, 2, 2], [0, 0, 2, 2], [1, 1, 3, 3], [1, 1, 3, 3]]


def test_overlay_tints_the_mask_and_leaves_the_rest() -> None:
    image = np.full((9, 9, 3), 100, np.uint8)
    mask = np.zeros((9, 9), np.uint8)
    mask[2:7, 2:7] = 1

    drawn = overlay(image, mask)

    assert (drawn[mask == 0] == 100).all()
    assert (drawn[mask == 1] != 100).any(axis=-1).all()
    assert drawn[2, 2].tolist() != drawn[4, 4].tolist()  # outline against tint


def test_sixteen_bit_colour_is_refused_though_pillow_would_halve_it(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "rgb16.png"), np.full((4, 4, 3), 40_000, np.uint16))

    with pytest.raises(InputError, match=r"rgb16\.png: 16-bit pixels"):
        read_rgb(tmp_path / "rgb16.png")


def test_a_folder_with_masks_beside_the_images_is_not_taken_whole(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        Image.fromarray(noise(4, 4)).save(tmp_path / name / "a.png")

    with pytest.raises(InputError, match="holds masks in masks: name the folder of the images alone"):
        list_images(tmp_path)
    assert len(list_images(tmp_path / "images")) == 1
    assert len(list_images(tmp_path / "masks")) == 1


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/clip/0.jpg", "labels/clip/0.png"),
        ("Original/0.png", "Ground Truth/0.png"),
        ("0.png", "test-mask/0.png"),
    ],
)
def test_masks_below_a_folder_are_never_taken_for_images(image: str, mask: str, tmp_path: Path) -> None:
    for name in (image, mask):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / name)

    with pytest.raises(InputError, match=r"holds masks in .*: name the folder of the images alone"):
        list_images(tmp_path)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is named from inside, for whoever may not pass those above; locks in it are opened."""
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    yield tmp_path
    for path in tmp_path.iterdir():
        path.chmod(0o755)


@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_a_folder_that_may_not_be_listed_is_named_and_not_passed_over(mode: int, here: Path) -> None:
    for name in ("a", "b"):
        (here / name).mkdir()
        Image.new("L", (4, 4)).save(here / name / "x.png")
    (here / "b" / "link.png").symlink_to("x.png")  # whose kind is only known where it may be followed
    (here / "b").chmod(mode)

    with unprivileged(), pytest.raises(InputError, match=r"^b(/link\.png)?: no permission to read it; allow that"):
        list_images(Path())


def test_a_file_in_a_folder_that_may_not_be_entered_is_named(here: Path) -> None:
    (here / "b").mkdir(mode=0o000)

    with unprivileged(), pytest.raises(InputError, match=r"^b/x\.png: no permission to read it"):
        list_images(Path("b/x.png"))


def test_images_come_in_the_order_of_their_folders(tmp_path: Path) -> None:
    names = ["b/x.png", "b.png", "b-1/x.png", "b/a/y.PNG", "a/z.jpg", ".hidden/x.tif", "B/x.bmp"]
    for name in (*names, "b/notes.txt", "b/.x.png", "b/folder.png/c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "b" / "linked.png").symlink_to("x.png")
    (tmp_path / "b" / "broken.png").symlink_to("nowhere.png")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)

    assert list_images(tmp_path) == sorted(tmp_path / name for name in (*names, "b/linked.png"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "bmp"])
def test_the_size_of_an_image_is_known_before_it_is_decoded(orientation: int, suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x.{suffix}"
    Image.new("RGB", (20, 30)).save(path, exif=exif)

    assert read_size(path) == read_rgb(path).shape[:2]


def test_of_an_image_that_cannot_be_read_there_is_no_size(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"hello")

    with pytest.raises(InputError, match=r"x\.png: not an image that can be read"):
        read_size(tmp_path / "x.png")


def test_videos_in_a_folder_are_told_of_when_they_are_left_out(tmp_path: Path) -> None:
    for name in ("a.mp4", "b/c.MOV", "b/.hidden.mp4", "out/a.overlay.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    notes: list[str] = []

    with pytest.raises(InputError, match=r"holds no images \(.*\), but 3 video\(s\); predict takes videos one by one"):
        image_names(tmp_path)
    (tmp_path / "a.png").write_bytes(b"x")

    assert image_names(tmp_path, "out", notes.append) == ["a.png"]
    assert notes == [f"{tmp_path}: 2 video(s) left out; name them one by one, in a run of their own"]
