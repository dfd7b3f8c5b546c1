"""Which mask belongs to which image, and what is refused rather than guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from segdino_deploy.benchmarks.data.data_set import open_data_set
from segdino_deploy.errors import InputError
from tests.benchmarks.data.trees import write_image, write_mask, write_tree


@pytest.mark.parametrize("suffix", ["_segmentation", "_Segmentation", "_mask", "_gt", "_label", "_lesion"])
def test_masks_that_all_bear_the_same_suffix_belong_to_the_images_without_it(suffix: str, tmp_path: Path) -> None:
    write_tree(tmp_path, {f"images/{stem}.jpg": f"masks/{stem}{suffix}.png" for stem in ("a", "b.2", "c_mask_1")})

    pairs = {sample.image.stem: sample.mask.name for sample in open_data_set(tmp_path).samples if sample.mask}

    assert pairs == {stem: f"{stem}{suffix}.png" for stem in ("a", "b.2", "c_mask_1")}


def test_equal_stems_win_over_suffixes(tmp_path: Path) -> None:
    write_tree(tmp_path, {"image/a_mask.png": "mask/a_mask.png"})
    write_image(tmp_path / "image" / "a.png")

    with pytest.raises(InputError, match=r"image/a\.png: is an image without its mask"):
        open_data_set(tmp_path)


def test_different_suffixes_are_not_mixed(tmp_path: Path) -> None:
    write_tree(tmp_path, {"image/a.png": "mask/a_mask.png", "image/b.png": "mask/b_gt.png"})

    with pytest.raises(InputError, match=r"a_mask\.png: is a mask without its image in .*image \(and 1 more\)"):
        open_data_set(tmp_path)


def test_two_masks_that_a_suffix_makes_one_are_refused(tmp_path: Path) -> None:
    write_tree(tmp_path, {"image/a.png": "mask/a_mask.png"})
    write_mask(tmp_path / "mask" / "a_MASK.png")

    with pytest.raises(InputError, match="the same stem"):
        open_data_set(tmp_path)


def test_what_has_no_partner_is_named_with_the_number_of_others(tmp_path: Path) -> None:
    write_tree(tmp_path, {"image/a.png": "mask/a.png", "image/b.png": None, "image/c.png": None, "image/d.png": None})
    with pytest.raises(InputError, match=r"b\.png: is an image without its mask in .*/mask \(and 2 more\)$"):
        open_data_set(tmp_path)

    write_mask(tmp_path / "mask" / "z.png")
    with pytest.raises(InputError, match=r"z\.png: is a mask without its image in .*/image$"):
        open_data_set(tmp_path)


def test_frames_are_told_apart_by_their_video(tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        {
            "test/one/JPEGImages/1.jpg": "test/one/SegmentationClassPNG/1.png",
            "test/two/JPEGImages/1.jpg": "test/two/SegmentationClassPNG/1.png",
            "test/two/JPEGImages/2.jpg": None,
        },
    )

    with pytest.raises(InputError, match=r"two/JPEGImages/2\.jpg: is an image without its mask"):
        open_data_set(tmp_path)


def test_a_video_without_masks_is_refused(tmp_path: Path) -> None:
    write_tree(tmp_path, {"images/one/1.jpg": "labels/one/1.png", "images/two/1.jpg": None})

    with pytest.raises(InputError, match=r"two/1\.jpg: is an image without its mask"):
        open_data_set(tmp_path)


def test_drawings_of_superpixels_are_images_where_nothing_else_is(tmp_path: Path) -> None:
    write_tree(tmp_path, {"image/a_superpixels.png": "mask/a_superpixels.png", "image/b.png": "mask/b.png"})

    assert [sample.image.stem for sample in open_data_set(tmp_path).samples] == ["a_superpixels", "b"]


@pytest.mark.parametrize("empty", ["test/image", "test/mask", "test-image", "test-mask"])
def test_an_empty_split_is_refused_by_name(empty: str, tmp_path: Path) -> None:
    if "/" in empty:
        write_tree(tmp_path, {"test/image/a.png": "test/mask/a.png", "train/image/a.png": "train/mask/a.png"})
    else:
        write_tree(tmp_path, {"test-image/a.jpg": "test-mask/a.jpg", "trainval-image/a.jpg": "trainval-mask/a.jpg"})
    for file in (tmp_path / empty).iterdir():
        file.unlink()

    with pytest.raises(InputError, match=rf"{empty}: holds no images"):
        open_data_set(tmp_path)
