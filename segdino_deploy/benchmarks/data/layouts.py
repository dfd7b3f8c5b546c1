"""Where data sets keep their images and masks: the folder names that are found without options.

The table holds what SegDINO's repositories ask for (`image`, `mask`, a split between; MSD is published so, too), the
defaults of its own loader (`img`, `label`), the data sets of its papers as their authors publish them, and what
annotation tools write (labelme).
"""

from __future__ import annotations

from dataclasses import dataclass

SPLIT = "{split}"
EVERY = "*"
NAMED = "as named"  # in place of a data set's name: the user named the folders
# A mask may bear the name of its image with one of these behind it, if all masks of the split bear the same one.
MASK_SUFFIXES = ("_segmentation", "_mask", "_gt", "_label", "_lesion")
# ISIC 2017 keeps drawings of superpixels beside the images: `X_superpixels` is left out where there is an image `X`.
BESIDE_IMAGES = "_superpixels"
# Folders of these names are never taken for videos.
SPLIT_NAMES = frozenset({"train", "training", "trainval", "val", "valid", "validation", "test", "testing"})


@dataclass(frozen=True)
class Layout:
    """The folders of images and of masks, relative to the folder around both.

    `{split}` in their names stands for a split; where it does not occur, a split is a folder around both, or there is
    none. `*` stands for the folder of every video. Files are paired by their path below the two folders, without the
    ending.
    """

    name: str
    image_dir: str
    mask_dir: str
    splits: tuple[tuple[str, str], ...] = (("", ""),)  # name of a split, and how the folders spell it
    by_name: bool = False  # pairs by file name alone: archives unpack into a further folder of their own name

    def spelled(self) -> list[tuple[str, Layout]]:
        """Each split's name with the layout of that split alone."""
        return [
            (name, Layout(self.name, _spell(self.image_dir, word), _spell(self.mask_dir, word), by_name=self.by_name))
            for name, word in self.splits
        ]


def _spell(template: str, word: str) -> str:
    return template.replace(SPLIT, word)


SEGDINO = Layout("SegDINO", "image", "mask")
ISIC_SPLITS = (("train", "Training"), ("validation", "Validation"), ("test", "Test"))

# SEGDINO is the documented layout: where its folders are, the others are not looked for.
OTHERS = (
    Layout("SegDINO's loader", "img", "label"),
    Layout("Kvasir-SEG", "images", "masks"),
    Layout("CVC-ClinicDB", "Original", "Ground Truth"),
    Layout("ViSha", "images", "labels"),  # with a folder per video below both
    Layout("VMD-D", "*/JPEGImages", "*/SegmentationClassPNG"),
    Layout("labelme's VOC", "JPEGImages", "SegmentationClassPNG"),
    Layout("PASCAL VOC", "JPEGImages", "SegmentationClass"),
    Layout("TN3K", "{split}-image", "{split}-mask", (("trainval", "trainval"), ("test", "test"))),
    Layout(
        "ISIC 2016",
        "ISBI2016_ISIC_Part1_{split}_Data",
        "ISBI2016_ISIC_Part1_{split}_GroundTruth",
        ISIC_SPLITS,
        by_name=True,
    ),
    Layout(
        "ISIC 2017",
        "ISIC-2017_{split}_Data",
        "ISIC-2017_{split}_Part1_GroundTruth",
        (*ISIC_SPLITS[:2], ("test", "Test_v2")),
        by_name=True,
    ),
    Layout(
        "ISIC 2018",
        "ISIC2018_Task1-2_{split}_Input",
        "ISIC2018_Task1_{split}_GroundTruth",
        ISIC_SPLITS,
        by_name=True,
    ),
)


def named(image_dir: str | None, mask_dir: str | None) -> list[Layout]:
    """Layouts with the folders that the user named; one left open is what the table has beside the other.

    A name that is in no layout goes with SegDINO's: images in `image` or else where any layout has them, masks in
    `mask`.
    """
    table = [spelled for layout in (SEGDINO, *OTHERS) for _, spelled in layout.spelled()]
    if image_dir is not None and mask_dir is not None:
        return [Layout(NAMED, image_dir, mask_dir)]
    if image_dir is not None:
        known = [layout for layout in table if layout.image_dir == image_dir]
        return [*known, Layout(NAMED, image_dir, SEGDINO.mask_dir)]
    known = [layout for layout in table if layout.mask_dir == mask_dir]
    if mask_dir is None or known:
        return known
    images = dict.fromkeys(layout.image_dir for layout in (SEGDINO, *OTHERS) if SPLIT not in layout.image_dir)
    return [Layout(NAMED, image, mask_dir) for image in images]
