"""Ground truth: noise, sizes, values, and what is refused before anything is measured."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdino_deploy.benchmarks.data import truths as module
from segdino_deploy.benchmarks.data.data_set import check_truths, open_data_set
from segdino_deploy.benchmarks.data.pairs import Sample
from segdino_deploy.benchmarks.data.truths import read_truth
from segdino_deploy.errors import InputError
from segdino_deploy.images import read_mask, read_rgb
from tests.benchmarks.data.trees import SIZE_HW, UInt8, blob, write_image, write_mask, write_tree

A_QUARTER_TURN = 6  # EXIF orientation


def only_sample(directory: Path, mask: UInt8) -> Sample:
    write_image(directory / "image" / "a.png", mask.shape[:2])
    write_mask(directory / "mask" / "a.png", mask)
    return open_data_set(directory).samples[0]


def test_the_noise_of_jpeg_masks_is_removed(tmp_path: Path) -> None:
    write_tree(tmp_path, {"images/a.jpg": "masks/a.jpg"})
    (sample,) = open_data_set(tmp_path).samples
    assert sample.mask is not None
    stored = read_mask(sample.mask)
    assert len(np.unique(stored)) > 10  # grey where there was black and white
    assert (stored[~blob()] > 0).any() and (stored[blob()] < 255).any()

    truth = read_truth(sample, SIZE_HW, num_classes=1)

    assert truth.dtype == np.uint8
    np.testing.assert_array_equal(truth, blob())


def test_masks_are_sized_without_new_values(tmp_path: Path) -> None:
    sample = only_sample(tmp_path, np.array([[0, 2], [1, 3]], np.uint8))

    truth = read_truth(sample, (4, 4), num_classes=4)

    assert truth.tolist() == [[0, 0, 2, 2], [0, 0, 2, 2], [1, 1, 3, 3], [1, 1, 3, 3]]
    assert read_truth(sample, (2, 2), 1, foreground=(1, 3)).tolist() == [[0, 0], [1, 1]]
    assert read_truth(sample, (2, 2), 1).tolist() == [[0, 0], [0, 0]]


def test_a_value_that_is_no_class_is_refused_by_name(tmp_path: Path) -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[3, 4] = 7  # one pixel, which the model's size would lose
    sample = only_sample(tmp_path, mask)

    with pytest.raises(InputError, match=r"a\.png: holds the value 7, the model's classes are 0 to 2"):
        read_truth(sample, (4, 4), num_classes=3)
    with pytest.raises(InputError, match="holds the value 7"):
        check_truths(open_data_set(tmp_path), num_classes=3)
    assert read_truth(sample, (20, 20), num_classes=8).max() == 7


def test_a_mask_of_another_size_than_its_image_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "image" / "a.png", (24, 40))
    write_mask(tmp_path / "mask" / "a.png", np.full((12, 20), 255, np.uint8))
    data = open_data_set(tmp_path)

    message = r"mask/a\.png: is 12x20 pixels \(height x width\), its image a\.png is 24x40: give the mask that belongs"
    with pytest.raises(InputError, match=message):
        read_truth(data.samples[0], SIZE_HW, num_classes=1)
    with pytest.raises(InputError, match=message):
        check_truths(data, num_classes=1)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_images_that_exif_turns_have_masks_that_lie_as_they_do_upright(suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = A_QUARTER_TURN
    (tmp_path / "image").mkdir()
    Image.fromarray(np.zeros((24, 40, 3), np.uint8)).save(tmp_path / "image" / f"a{suffix}", exif=exif)
    assert read_rgb(tmp_path / "image" / f"a{suffix}").shape == (40, 24, 3)
    write_mask(tmp_path / "mask" / "a.png", np.full((40, 24), 255, np.uint8))

    check_truths(open_data_set(tmp_path), num_classes=1)
    assert read_truth(open_data_set(tmp_path).samples[0], (4, 4), num_classes=1).all()

    write_mask(tmp_path / "mask" / "a.png", np.full((24, 40), 255, np.uint8))  # as the image is stored
    with pytest.raises(InputError, match=r"is 24x40 pixels .* is 40x24: "):
        check_truths(open_data_set(tmp_path), num_classes=1)


def test_a_mask_that_lies_as_its_turned_image_is_stored_is_told_so(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = A_QUARTER_TURN
    (tmp_path / "image").mkdir()
    Image.fromarray(np.zeros((24, 40, 3), np.uint8)).save(tmp_path / "image" / "a.jpg", exif=exif)
    write_mask(tmp_path / "mask" / "a.png")

    with pytest.raises(InputError, match="the image's EXIF orientation turns it, so turn the mask, too"):
        check_truths(open_data_set(tmp_path), num_classes=1)

    Image.fromarray((blob() * 255).astype(np.uint8)).save(tmp_path / "mask" / "a.png", exif=exif)
    check_truths(open_data_set(tmp_path), num_classes=1)


def test_masks_are_read_up_to_the_first_with_foreground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(20):
        write_image(tmp_path / "image" / f"{index:02}.png")
        write_mask(tmp_path / "mask" / f"{index:02}.png", np.full(SIZE_HW, 255 * (index == 2), np.uint8))
    read: list[str] = []

    def watched(path: Path) -> UInt8:
        read.append(path.stem)
        return read_mask(path)

    monkeypatch.setattr(module, "read_mask", watched)
    counts: list[tuple[int, int]] = []

    check_truths(open_data_set(tmp_path), num_classes=1, on_mask=lambda done, total: counts.append((done, total)))

    assert read == ["00", "01", "02"]
    assert counts == [(done, 20) for done in range(1, 21)]


def test_a_data_set_without_foreground_lists_the_values_that_were_seen(tmp_path: Path) -> None:
    for index in range(12):
        write_image(tmp_path / "image" / f"{index:02}.png")
        write_mask(tmp_path / "mask" / f"{index:02}.png", np.full(SIZE_HW, index, np.uint8))
    data = open_data_set(tmp_path)

    with pytest.raises(
        InputError, match=r"no mask holds a value above 127 \(they hold 0, 1, 2, 3, 4, 5, 6, 7\): name .*--foreground"
    ):
        check_truths(data, num_classes=1)
    with pytest.raises(InputError, match=r"equal to 40,41 .*: name others"):
        check_truths(data, num_classes=1, foreground=(40, 41))
    check_truths(data, num_classes=1, foreground=(11,))


def test_foreground_is_for_one_class(tmp_path: Path) -> None:
    write_tree(tmp_path, {"image/a.png": "mask/a.png"})

    with pytest.raises(InputError, match="--foreground is for one-class models; this one has 3 classes"):
        check_truths(open_data_set(tmp_path), num_classes=3, foreground=(1,))


def test_jpeg_masks_cannot_hold_exact_values(tmp_path: Path) -> None:
    write_tree(tmp_path, {"images/a.jpg": "masks/a.jpg"})
    data = open_data_set(tmp_path)

    check_truths(data, num_classes=1)
    with pytest.raises(InputError, match=r"masks/a\.jpg: is a JPEG, whose compression changes class indices"):
        check_truths(data, num_classes=3)
    with pytest.raises(InputError, match=r"changes the values of --foreground.*or leave --foreground out"):
        check_truths(data, num_classes=1, foreground=(255,))


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_a_damaged_file_is_named(kind: str, tmp_path: Path) -> None:
    write_tree(tmp_path, {"image/a.png": "mask/a.png"})
    (tmp_path / kind / "a.png").write_bytes(b"no picture")

    with pytest.raises(InputError, match=rf"{kind}/a\.png: not an image"):
        check_truths(open_data_set(tmp_path), num_classes=1)


def test_images_without_masks_have_no_truth(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    data = open_data_set(tmp_path)

    check_truths(data, num_classes=1)
    with pytest.raises(InputError, match=r"a\.png: has no mask"):
        read_truth(data.samples[0], SIZE_HW, num_classes=1)


def test_masks_are_checked_one_at_a_time(tmp_path: Path) -> None:
    size_hw, count = (300, 400), 16
    for index in range(count):
        write_image(tmp_path / "image" / f"{index}.png", size_hw)
        write_mask(tmp_path / "mask" / f"{index}.png", np.zeros(size_hw, np.uint8))
    data = open_data_set(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="no mask holds"):
            check_truths(data, num_classes=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < size_hw[0] * size_hw[1] * count / 2
