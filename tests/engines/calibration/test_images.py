"""Which images calibration reads, in which order, and what it says of those it cannot read."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from segdino_deploy.engines.calibration import images as module
from segdino_deploy.engines.calibration.images import calibration_files, readable_images, stream_batches, survey
from segdino_deploy.errors import InputError
from segdino_deploy.manifest import BackboneCard, BatchRange, CheckpointCard, HeadCard, ModelCard


def card(batch: int = 1) -> ModelCard:
    head = HeadCard(
        family="v2",
        num_classes=1,
        class_names=["polyp"],
        outputs=["mask"],
        threshold=0.5,
        taps=(0,),
        resize_filter="bicubic",
        checkpoint=CheckpointCard(name="a.pth", sha256=""),
    )
    return ModelCard(
        heads=[head],
        input_size=(16, 24),
        batch=BatchRange(min=batch, opt=batch, max=batch),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        resize_filter="bicubic",
        backbone=BackboneCard(embed_dim=4, depth=1, num_heads=1, ffn="mlp", ffn_hidden_dim=8, num_registers=0),
    )


def write(path: Path, seed: int = 0, size: tuple[int, int] = (20, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return path


def folder_of(count: int, folder: Path) -> list[Path]:
    return [write(folder / f"{index:02}.png", index) for index in range(count)]


def damage(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def test_a_data_set_gives_the_images_of_its_image_folder_or_of_its_train_split(tmp_path: Path) -> None:
    train = write(tmp_path / "a" / "train" / "image" / "x.png")
    write(tmp_path / "a" / "train" / "mask" / "x.png")
    flat = write(tmp_path / "b" / "image" / "x.png")
    plain = write(tmp_path / "c" / "x.png")

    assert calibration_files(tmp_path / "a") == [train]
    assert calibration_files(tmp_path / "b") == [flat]
    assert calibration_files(tmp_path / "c") == [plain]


def relative(files: list[Path], folder: Path) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in files]


@pytest.mark.parametrize(
    ("images", "beside"),
    [
        (["images/a.jpg", "images/b.jpg"], ["masks/a.jpg", "masks/b.jpg"]),
        (["train/images/cat/1.jpg"], ["train/labels/cat/1.png", "test/images/dog/1.jpg", "test/labels/dog/1.png"]),
        (
            ["train_origin/one/JPEGImages/1.jpg", "train_origin/two/JPEGImages/1.jpg"],
            [
                "train_origin/one/SegmentationClassPNG/1.png",
                "train_origin/two/SegmentationClassPNG/1.png",
                "test/one/JPEGImages/1.jpg",
                "test/one/SegmentationClassPNG/1.png",
            ],
        ),
        (["trainval-image/0.jpg"], ["trainval-mask/0.jpg", "test-image/0.jpg", "test-mask/0.jpg"]),
        (
            ["ISIC-2017_Training_Data/ISIC_1.jpg"],
            [
                "ISIC-2017_Training_Data/ISIC_1_superpixels.png",
                "ISIC-2017_Training_Part1_GroundTruth/ISIC_1_segmentation.png",
                "ISIC-2017_Test_v2_Data/ISIC_2.jpg",
                "ISIC-2017_Test_v2_Part1_GroundTruth/ISIC_2_segmentation.png",
            ],
        ),
    ],
)
def test_the_training_images_of_published_data_sets_are_found_without_options(
    images: list[str], beside: list[str], tmp_path: Path
) -> None:
    for name in (*images, *beside):
        write(tmp_path / name)

    assert relative(calibration_files(tmp_path), tmp_path) == images


def test_named_folders_of_images_are_found_in_the_training_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write(tmp_path / split / "photos" / "a.png")

    assert relative(calibration_files(tmp_path, "photos"), tmp_path) == ["train/photos/a.png"]
    with pytest.raises(InputError, match="has no folder pictures/; --image-dir names"):
        calibration_files(tmp_path, "pictures")


def test_test_images_and_masks_are_not_calibrated_on_unasked(tmp_path: Path) -> None:
    write(tmp_path / "test-image" / "0.jpg")
    write(tmp_path / "test-mask" / "0.jpg")
    with pytest.raises(InputError, match="has no split train, only test: name the folder of the images"):
        calibration_files(tmp_path)
    assert len(calibration_files(tmp_path / "test-image")) == 1

    write(tmp_path / "other" / "deep" / "down" / "SegmentationClassPNG" / "0.png")
    with pytest.raises(InputError, match="holds masks in SegmentationClassPNG"):
        calibration_files(tmp_path / "other")


def test_a_list_names_images_relative_to_itself_in_its_own_order(tmp_path: Path) -> None:
    near, far = write(tmp_path / "lists" / "near.png"), write(tmp_path / "elsewhere" / "far.png")
    chosen = tmp_path / "lists" / "chosen.txt"
    chosen.write_text(f"# two slices\n\n  near.png  \r\n{far}\n../elsewhere/far.png\n")

    assert [file.resolve() for file in calibration_files(chosen)] == [near, far, far]


def test_a_list_with_a_missing_file_says_which_line(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    chosen = tmp_path / "chosen.txt"
    chosen.write_text("a.png\n\ngone.png\n")

    with pytest.raises(InputError, match=r"chosen\.txt, line 3: .*gone\.png: no such file: correct the line"):
        calibration_files(chosen)


@pytest.mark.parametrize(("content", "message"), [(b"# none\n\n", "names no images"), (b"\xff\xfe\x00", "UTF-8")])
def test_a_list_without_images_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(content)

    with pytest.raises(InputError, match=message):
        calibration_files(tmp_path / "list.txt")


def test_a_limit_draws_the_same_sample_for_the_same_seed_and_keeps_the_order(tmp_path: Path) -> None:
    files = folder_of(12, tmp_path)
    samples = [calibration_files(tmp_path, limit=5, seed=seed) for seed in range(6)]

    assert all(len(set(sample)) == 5 and sample == sorted(sample) for sample in samples)
    assert calibration_files(tmp_path, limit=5, seed=3) == samples[3]
    assert len({tuple(sample) for sample in samples}) > 1
    assert calibration_files(tmp_path, limit=12) == calibration_files(tmp_path, limit=99) == files

    (tmp_path / "list.txt").write_text("\n".join(file.name for file in reversed(files)))
    assert calibration_files(tmp_path / "list.txt", limit=5) == sorted(
        calibration_files(tmp_path / "list.txt", limit=5), reverse=True
    )


def test_nothing_to_calibrate_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no images"):
        calibration_files(tmp_path)
    folder_of(2, tmp_path)
    with pytest.raises(InputError, match="0 calibration images asked for"):
        calibration_files(tmp_path, limit=0)


def test_a_survey_counts_sizes_and_intensities_and_notes_what_it_cannot_read(tmp_path: Path) -> None:
    files = [write(tmp_path / "a.png", 1), write(tmp_path / "b.png", 2, (8, 9)), write(tmp_path / "c.png", 3)]
    bad = [damage(write(tmp_path / "d.png", 4)), tmp_path / "e.png"]
    bad[1].write_text("hello")
    reports: list[tuple[int, int]] = []

    seen = survey([*files[:2], *bad, files[2]], lambda done, total: reports.append((done, total)))

    raw = np.concatenate([np.asarray(Image.open(file)).ravel() for file in files])
    assert seen.readable == files
    assert seen.sizes == {"20x30": 2, "8x9": 1}
    assert seen.intensity == np.histogram(raw, bins=256, range=(0, 256))[0].tolist()
    assert list(seen.unreadable) == [str(path) for path in bad]
    assert seen.unreadable[str(bad[0])].startswith("damaged image")
    assert seen.unreadable[str(bad[1])] == "not an image that can be read"
    assert reports == [(index, 5) for index in range(1, 6)]


def test_unreadable_images_are_named_and_left_out_only_when_asked(tmp_path: Path) -> None:
    files = folder_of(9, tmp_path)
    for file in files[1:8]:
        damage(file)
    seen = survey(files)

    with pytest.raises(InputError) as caught:
        readable_images(files, seen, skip_unreadable=False)
    message = str(caught.value)
    assert message.startswith(f"7 of 9 calibration images cannot be read: {files[1]} (damaged image")
    assert str(files[5]) in message and str(files[6]) not in message
    assert "and 2 more" in message and "--skip-unreadable" in message and "\n" not in message
    assert readable_images(files, seen, skip_unreadable=True) == [files[0], files[8]]


def test_no_readable_image_is_an_error_even_where_they_may_be_skipped(tmp_path: Path) -> None:
    files = [damage(file) for file in folder_of(2, tmp_path)]

    with pytest.raises(InputError, match="none of the 2 calibration images can be read"):
        readable_images(files, survey(files), skip_unreadable=True)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_threads_keep_the_order_and_the_last_batch_is_filled_up(workers: int, tmp_path: Path) -> None:
    files = folder_of(7, tmp_path)
    reports: list[int] = []

    batches = list(stream_batches(files, card(batch=3), lambda done, _: reports.append(done), workers=workers))

    resized = [np.asarray(Image.open(f).resize((24, 16), Image.Resampling.BICUBIC)) for f in files]
    expected = np.stack([*resized, resized[-1], resized[-1]]).reshape(3, 3, 16, 24, 3)
    np.testing.assert_array_equal(np.stack(batches), expected)
    assert reports == list(range(1, 8))


def test_images_do_not_pile_up_in_memory_before_a_slow_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = threading.Lock()
    decoded = 0

    def reader(_file: Path, card: ModelCard) -> NDArray[np.uint8]:
        nonlocal decoded
        with lock:
            decoded += 1
        return np.zeros((*card.input_size, 3), np.uint8)

    monkeypatch.setattr(module, "load_input", reader)
    ahead = []
    for consumed, _ in enumerate(stream_batches([tmp_path] * 40, card(), workers=2), start=1):
        time.sleep(0.002)  # the threads have time to run ahead
        ahead.append(decoded - consumed)

    assert len(ahead) == 40
    assert 1 <= max(ahead) <= 4


def test_a_reader_that_stops_early_leaves_no_thread_behind(tmp_path: Path) -> None:
    stream = stream_batches(folder_of(9, tmp_path), card())
    next(stream)
    stream.close()  # type: ignore[attr-defined]

    assert not [thread for thread in threading.enumerate() if thread.name.startswith("calibration")]


def test_an_image_damaged_after_the_survey_stops_the_stream(tmp_path: Path) -> None:
    files = folder_of(4, tmp_path)
    damage(files[2])

    with pytest.raises(InputError, match=r"02\.png: damaged image"):
        list(stream_batches(files, card()))
