"""Data set folders: pairs, splits, foreground, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdino_deploy.benchmarks.data.samples import find_samples, read_truths
from segdino_deploy.errors import InputError

SIZE = (64, 96)  # of the model: H, W


def save(path: Path, value: int = 0, mode: type = np.uint8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), value, mode)).save(path)


def test_images_and_masks_are_paired_by_stem_whatever_their_format(tmp_path: Path) -> None:
    for stem in ("b", "a"):
        save(tmp_path / "image" / f"{stem}.jpg")
        save(tmp_path / "mask" / f"{stem}.png")

    samples = find_samples(tmp_path)

    assert [(s.image.name, s.mask.name if s.mask else None) for s in samples] == [
        ("a.jpg", "a.png"),
        ("b.jpg", "b.png"),
    ]


def test_the_test_split_is_taken_and_other_names_can_be_given(tmp_path: Path) -> None:
    for split in ("train", "test"):
        save(tmp_path / split / "img" / f"{split}.png")
        save(tmp_path / split / "label" / f"{split}.png")

    assert [s.image.stem for s in find_samples(tmp_path, "img", "label")] == ["test"]
    assert [s.image.stem for s in find_samples(tmp_path / "train", "img", "label")] == ["train"]


def test_several_splits_without_a_test_split_ask_for_one(tmp_path: Path) -> None:
    save(tmp_path / "fold1" / "image" / "a.png")
    save(tmp_path / "fold2" / "image" / "a.png")

    with pytest.raises(InputError, match="splits fold1, fold2: name one"):
        find_samples(tmp_path)


def test_a_plain_folder_of_images_has_no_masks(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    assert [s.mask for s in find_samples(tmp_path)] == [None]


def test_a_mask_without_its_image_and_the_reverse(tmp_path: Path) -> None:
    save(tmp_path / "image" / "a.png")
    save(tmp_path / "mask" / "a.png")
    save(tmp_path / "mask" / "b.png")
    with pytest.raises(InputError, match=r"b\.png: is a mask without its image"):
        find_samples(tmp_path)

    save(tmp_path / "image" / "b.png")
    save(tmp_path / "image" / "c.png")
    with pytest.raises(InputError, match=r"c\.png: is an image without its mask"):
        find_samples(tmp_path)


def test_two_images_of_one_stem_and_an_empty_folder(tmp_path: Path) -> None:
    save(tmp_path / "image" / "a.png")
    save(tmp_path / "image" / "a.jpg")
    with pytest.raises(InputError, match="the same stem"):
        find_samples(tmp_path)

    (tmp_path / "empty" / "image").mkdir(parents=True)
    with pytest.raises(InputError, match="holds no images"):
        find_samples(tmp_path / "empty")


def test_one_class_foreground_is_above_127(tmp_path: Path) -> None:
    for stem, value in (("a", 127), ("b", 128)):
        save(tmp_path / "image" / f"{stem}.png")
        save(tmp_path / "mask" / f"{stem}.png", value)

    truths = read_truths(find_samples(tmp_path), SIZE, 1)

    assert [int(truth.max()) for truth in truths] == [0, 1]
    assert truths[0].shape == SIZE


def test_class_indices_for_one_class_are_refused_with_the_cure_and_scored_with_it(tmp_path: Path) -> None:
    for stem, value in (("a", 1), ("b", 2)):
        save(tmp_path / "image" / f"{stem}.png")
        save(tmp_path / "mask" / f"{stem}.png", value)
    samples = find_samples(tmp_path)

    with pytest.raises(InputError, match=r"no mask holds a value above 127 \(they hold 1, 2\).*--foreground"):
        read_truths(samples, SIZE, 1)
    with pytest.raises(InputError, match="equal to 7"):
        read_truths(samples, SIZE, 1, foreground=(7,))
    assert [int(t.max()) for t in read_truths(samples, SIZE, 1, foreground=(2,))] == [0, 1]
    assert [int(t.max()) for t in read_truths(samples, SIZE, 1, foreground=(1, 2))] == [1, 1]


def test_a_class_the_model_does_not_have_names_the_file(tmp_path: Path) -> None:
    save(tmp_path / "image" / "a.png")
    save(tmp_path / "mask" / "a.png", 3)

    with pytest.raises(InputError, match=r"a\.png: holds the value 3, the model's classes are 0 to 2"):
        read_truths(find_samples(tmp_path), SIZE, 3)
    with pytest.raises(InputError, match="one-class models"):
        read_truths(find_samples(tmp_path), SIZE, 3, foreground=(1,))
