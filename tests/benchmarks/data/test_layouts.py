"""Every layout of the table, as its authors publish it, and the folders that users name in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from segdino_deploy.benchmarks.data.data_set import DataSet, open_data_set
from segdino_deploy.errors import InputError
from tests.benchmarks.data.trees import write_image, write_mask, write_tree

Pairs = dict[str, str | None]

# Words of the layout: images and masks of the split that is scored, files that must be left aside.
LAYOUTS: dict[str, tuple[Pairs, list[str]]] = {
    "as in SegDINO: image/ and mask/": ({"image/a.jpg": "mask/a.png"}, []),
    "as in SegDINO: test/image/ and test/mask/": (  # MSD
        {"test/image/1_512x640.jpg": "test/mask/1_512x640.png", "test/image/2_512x640.jpg": "test/mask/2_512x640.png"},
        ["train/image/9_512x640.jpg", "train/mask/9_512x640.png"],
    ),
    "as in SegDINO: MSD/test/image/ and MSD/test/mask/": (
        {"MSD/test/image/1.jpg": "MSD/test/mask/1.png"},
        ["MSD/train/image/9.jpg", "MSD/train/mask/9.png", "__MACOSX/MSD/train/image/1.jpg"],
    ),
    "as in SegDINO's loader: test/img/ and test/label/": ({"test/img/a.png": "test/label/a.png"}, []),
    "as in Kvasir-SEG: images/ and masks/": ({"images/cju0.jpg": "masks/cju0.jpg"}, []),
    "as in Kvasir-SEG: test/images/ and test/masks/": (
        {"test/images/ISIC_01.jpg": "test/masks/ISIC_01_segmentation.png"},
        ["train/images/ISIC_02.jpg", "train/masks/ISIC_02_segmentation.png"],
    ),
    "as in CVC-ClinicDB: Original/ and Ground Truth/": ({"Original/1.tif": "Ground Truth/1.tif"}, []),
    "as in TN3K: test-image/ and test-mask/": (
        {"test-image/0000.jpg": "test-mask/0000.jpg", "test-image/0001.jpg": "test-mask/0001.jpg"},
        ["trainval-image/0000.jpg", "trainval-mask/0000.jpg"],
    ),
    "as in TN3K: tn3k/test-image/ and tn3k/test-mask/": (
        {"tn3k/test-image/0000.jpg": "tn3k/test-mask/0000.jpg"},
        ["tn3k/trainval-image/0000.jpg", "tn3k/trainval-mask/0000.jpg", "tg3k/thyroid-image/0.jpg"],
    ),
    "as in ISIC 2016: ISBI2016_ISIC_Part1_Test_Data/ and ISBI2016_ISIC_Part1_Test_GroundTruth/": (
        {
            "ISBI2016_ISIC_Part1_Test_Data/ISIC_0000003.jpg": (
                "ISBI2016_ISIC_Part1_Test_GroundTruth/ISIC_0000003_Segmentation.png"
            )
        },
        [
            "ISBI2016_ISIC_Part1_Training_Data/ISIC_0000000.jpg",
            "ISBI2016_ISIC_Part1_Training_GroundTruth/ISIC_0000000_Segmentation.png",
        ],
    ),
    "as in ISIC 2017: ISIC-2017_Test_v2_Data/ and ISIC-2017_Test_v2_Part1_GroundTruth/": (
        {  # unpacked into a further folder of the archive's name, the images only
            "ISIC-2017_Test_v2_Data/ISIC-2017_Test_v2_Data/ISIC_0012086.jpg": (
                "ISIC-2017_Test_v2_Part1_GroundTruth/ISIC_0012086_segmentation.png"
            )
        },
        [
            "ISIC-2017_Test_v2_Data/ISIC-2017_Test_v2_Data/ISIC_0012086_superpixels.png",
            "ISIC-2017_Training_Data/ISIC_0000000.jpg",
            "ISIC-2017_Training_Part1_GroundTruth/ISIC_0000000_segmentation.png",
        ],
    ),
    "as in ISIC 2018: ISIC2018_Task1-2_Test_Input/ and ISIC2018_Task1_Test_GroundTruth/": (
        {
            "ISIC2018_Task1-2_Test_Input/ISIC_0012169.jpg": (
                "ISIC2018_Task1_Test_GroundTruth/ISIC_0012169_segmentation.png"
            )
        },
        [
            "ISIC2018_Task1-2_Validation_Input/ISIC_0012255.jpg",
            "ISIC2018_Task1_Validation_GroundTruth/ISIC_0012255_segmentation.png",
        ],
    ),
    "as in VMD-D: test/*/JPEGImages/ and test/*/SegmentationClassPNG/": (
        {
            "test/000_0/JPEGImages/0001.jpg": "test/000_0/SegmentationClassPNG/0001.png",
            "test/000_0/JPEGImages/0002.jpg": "test/000_0/SegmentationClassPNG/0002.png",
            "test/000_1/JPEGImages/0001.jpg": "test/000_1/SegmentationClassPNG/0001.png",
        },
        ["train_origin/113_27/JPEGImages/0001.jpg", "train_origin/113_27/SegmentationClassPNG/0001.png"],
    ),
    "as in VMD-D: */JPEGImages/ and */SegmentationClassPNG/": (
        {
            "000_0/JPEGImages/0001.jpg": "000_0/SegmentationClassPNG/0001.png",
            "000_1/JPEGImages/0001.jpg": "000_1/SegmentationClassPNG/0001.png",
        },
        [],
    ),
    "as in ViSha: test/images/ and test/labels/": (
        {
            "test/images/baby_cat/00000001.jpg": "test/labels/baby_cat/00000001.png",
            "test/images/baby_cat/00000002.jpg": "test/labels/baby_cat/00000002.png",
            "test/images/baby_wave1/00000001.jpg": "test/labels/baby_wave1/00000001.png",
        },
        ["train/images/car/00000001.jpg", "train/labels/car/00000001.png"],
    ),
    "as in PASCAL VOC: JPEGImages/ and SegmentationClass/": ({"JPEGImages/a.jpg": "SegmentationClass/a.png"}, []),
    "as in labelme's VOC: JPEGImages/ and SegmentationClassPNG/": (
        {"JPEGImages/a.jpg": "SegmentationClassPNG/a.png"},
        [],
    ),
    "as in labelme's VOC: test/JPEGImages/ and test/SegmentationClassPNG/": (  # splits, not videos
        {"test/JPEGImages/a.jpg": "test/SegmentationClassPNG/a.png"},
        ["train/JPEGImages/b.jpg", "train/SegmentationClassPNG/b.png"],
    ),
}


def names(data: DataSet) -> Pairs:
    return {
        sample.image.relative_to(data.directory).as_posix(): (
            None if sample.mask is None else sample.mask.relative_to(data.directory).as_posix()
        )
        for sample in data.samples
    }


@pytest.mark.parametrize("words", LAYOUTS)
def test_a_layout_is_found_by_its_folders_and_its_test_split_is_taken(words: str, tmp_path: Path) -> None:
    pairs, aside = LAYOUTS[words]
    write_tree(tmp_path, pairs)
    for name in aside:
        write_image(tmp_path / name)
    (tmp_path / "LICENSE.txt").write_text("CC-0")
    for image in pairs:
        (tmp_path / image).with_name("ATTRIBUTION.txt").write_text("ISIC")
        (tmp_path / image).with_name(".DS_Store").write_bytes(b"\0")

    data = open_data_set(tmp_path)

    assert names(data) == pairs
    assert list(names(data)) == sorted(pairs)
    assert data.layout == words
    assert data.has_masks


def test_other_splits_are_found_by_the_name_of_their_folders(tmp_path: Path) -> None:
    write_tree(tmp_path, {"test-image/0.jpg": "test-mask/0.jpg", "trainval-image/0.jpg": "trainval-mask/0.jpg"})

    train = {"trainval-image/0.jpg": "trainval-mask/0.jpg"}
    assert names(open_data_set(tmp_path, prefer="trainval")) == train
    assert names(open_data_set(tmp_path, "trainval-image")) == train
    assert names(open_data_set(tmp_path, None, "trainval-mask")) == train


def test_the_documented_folders_win_over_those_of_other_data_sets(tmp_path: Path) -> None:
    write_tree(tmp_path, {"images/a.png": "masks/a.png", "test/image/b.png": "test/mask/b.png"})

    assert names(open_data_set(tmp_path)) == {"test/image/b.png": "test/mask/b.png"}
    assert names(open_data_set(tmp_path, "images")) == {"images/a.png": "masks/a.png"}


def test_named_folders_replace_the_table(tmp_path: Path) -> None:
    write_tree(tmp_path, {"photos/a.png": "drawn/a.png", "image/b.png": "mask/b.png", "images/c.png": "fixed/c.png"})

    data = open_data_set(tmp_path, "photos", "drawn/")

    assert names(data) == {"photos/a.png": "drawn/a.png"}
    assert data.layout == "as named: photos/ and drawn/"
    assert names(open_data_set(tmp_path, "images", "fixed")) == {"images/c.png": "fixed/c.png"}


def test_a_named_folder_of_masks_goes_with_the_images_that_a_layout_has(tmp_path: Path) -> None:
    write_tree(tmp_path, {"images/a.png": "masks/a.png"})
    write_mask(tmp_path / "fixed" / "a.png")

    assert names(open_data_set(tmp_path, None, "fixed")) == {"images/a.png": "fixed/a.png"}
    assert names(open_data_set(tmp_path, "image", "fixed")) == {"images/a.png": "fixed/a.png"}


def test_named_folders_of_videos_are_written_with_a_star(tmp_path: Path) -> None:
    write_tree(tmp_path, {"one/frames/1.jpg": "one/truth/1.png", "two/frames/1.jpg": "two/truth/1.png"})

    assert names(open_data_set(tmp_path, "*/frames", "*/truth")) == {
        "one/frames/1.jpg": "one/truth/1.png",
        "two/frames/1.jpg": "two/truth/1.png",
    }


def test_a_split_without_masks_is_not_replaced_by_one_that_has_them(tmp_path: Path) -> None:
    write_tree(tmp_path, {"train/images/a.png": "train/labels/a.png", "test/images/b.png": None})

    data = open_data_set(tmp_path)

    assert names(data) == {"test/images/b.png": None}
    assert not data.has_masks
    assert data.layout.endswith("test/images/, no masks")


def test_boxes_in_text_files_are_no_masks(tmp_path: Path) -> None:
    write_tree(tmp_path, {"images/a.png": "masks/a.png"})
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.1 0.1")

    assert names(open_data_set(tmp_path)) == {"images/a.png": "masks/a.png"}

    (tmp_path / "masks" / "a.png").unlink()
    (tmp_path / "masks").rmdir()
    assert names(open_data_set(tmp_path)) == {"images/a.png": None}


def test_a_folder_of_images_is_not_left_for_a_data_set_deep_inside_it(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a.png": None, "old/photos/images/b.png": None})
    write_tree(tmp_path, {"old/photos/train/image/c.png": None})

    assert list(names(open_data_set(tmp_path))) == ["a.png", "old/photos/images/b.png", "old/photos/train/image/c.png"]
    assert list(names(open_data_set(tmp_path / "old"))) == ["photos/train/image/c.png"]


def test_arrays_beside_masks_are_left_aside(tmp_path: Path) -> None:
    write_tree(tmp_path, {"JPEGImages/a.jpg": "SegmentationClassPNG/a.png"})
    (tmp_path / "SegmentationClass").mkdir()
    (tmp_path / "SegmentationClass" / "a.npy").write_bytes(b"\x93NUMPY")

    assert names(open_data_set(tmp_path)) == {"JPEGImages/a.jpg": "SegmentationClassPNG/a.png"}


def test_two_folders_of_masks_are_never_chosen_between(tmp_path: Path) -> None:
    write_tree(tmp_path, {"images/a.png": "masks/a.png"})
    write_mask(tmp_path / "labels" / "a.png")

    with pytest.raises(InputError, match=r"images: has masks in masks/ and in labels/: name one with --mask-dir"):
        open_data_set(tmp_path)
    assert names(open_data_set(tmp_path, None, "labels")) == {"images/a.png": "labels/a.png"}


def test_two_folders_of_images_are_never_chosen_between(tmp_path: Path) -> None:
    write_tree(tmp_path, {"images/a.png": "masks/a.png", "img/a.png": "label/a.png"})

    with pytest.raises(InputError, match=r"has images in img and images: name one folder, or --image-dir"):
        open_data_set(tmp_path)


def test_splits_that_folder_names_hold_are_named_with_the_option(tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        {
            f"ISIC2018_Task1-2_{split}_Input/ISIC_1.jpg": f"ISIC2018_Task1_{split}_GroundTruth/ISIC_1_segmentation.png"
            for split in ("Training", "Validation")
        },
    )

    with pytest.raises(InputError, match=r"train, validation: name one with --image-dir ISIC2018_Task1-2_Training_I"):
        open_data_set(tmp_path)
    assert len(open_data_set(tmp_path, "ISIC2018_Task1-2_Validation_Input").samples) == 1


def test_folders_of_masks_are_never_scored_as_images(tmp_path: Path) -> None:
    write_tree(tmp_path, {f"{name}/test-image/0.jpg": f"{name}/test-mask/0.jpg" for name in ("a", "b")})
    with pytest.raises(InputError, match="has images in a/test-image and b/test-image: name one folder"):
        open_data_set(tmp_path)

    write_mask(tmp_path / "two" / "down" / "trainval-mask" / "0.jpg")
    write_image(tmp_path / "two" / "0.jpg")
    with pytest.raises(InputError, match="holds masks in trainval-mask: name the folder of the images"):
        open_data_set(tmp_path / "two")


@pytest.mark.parametrize("outside", ["../images", "/images"])
def test_images_are_inside_the_data_set(outside: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not inside"):
        open_data_set(tmp_path, outside)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such folder"):
        open_data_set(tmp_path / "nowhere")
    write_image(tmp_path / "a.png")
    with pytest.raises(InputError, match="has no folder photos/; --image-dir names the one that holds the images"):
        open_data_set(tmp_path, "photos")
    with pytest.raises(InputError, match="has no masks in drawn/; name their folder with --mask-dir"):
        open_data_set(tmp_path, None, "drawn")
    with pytest.raises(InputError, match="has no masks in mask/"):
        open_data_set(tmp_path, foreground=(2,))

    plain = open_data_set(tmp_path)
    assert (plain.layout, plain.has_masks) == ("a folder of images", False)


def test_the_preferred_split_is_taken_and_a_split_can_be_named_itself(tmp_path: Path) -> None:
    write_tree(tmp_path, {"train/image/a.png": "train/mask/a.png", "test/image/a.png": "test/mask/a.png"})

    def split(data: DataSet) -> Path:
        return data.samples[0].image.parent.parent

    assert split(open_data_set(tmp_path)) == tmp_path / "test"
    assert split(open_data_set(tmp_path, prefer="train")) == tmp_path / "train"
    assert split(open_data_set(tmp_path / "train")) == tmp_path / "train"
