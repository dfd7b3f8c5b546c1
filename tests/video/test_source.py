"""What users name, and what it becomes."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from segdino_deploy.errors import InputError
from segdino_deploy.video import VideoOptions, parse_source
from segdino_deploy.video.options import parse_mask_video, parse_overlay_codec
from segdino_deploy.video.targets import check_apart
from segdino_deploy.video.times import FrameTimes
from tests.engines.run.model import make_card
from tests.video.models import draw_frame


@pytest.mark.parametrize(
    "text, name, stem, is_live",
    [
        ("camera:0", "camera:0", "camera-0", True),
        ("rtsp://user:secret@cam.local:554/street/1?token=x", "rtsp://cam.local:554/street/1", "1", True),
        ("http://host/a%20b/clip.mp4?key=secret", "http://host/a%20b/clip.mp4", "clip", None),
        ("https://user@host", "https://host", "host", None),
    ],
)
def test_addresses_are_shown_without_secrets(text: str, name: str, stem: str, is_live: bool | None) -> None:
    source = parse_source(text)
    assert source is not None
    assert (source.name, source.stem, source.is_live) == (name, stem, is_live)


def test_images_and_folders_are_no_videos(tmp_path: Path) -> None:
    (tmp_path / "clips.mp4").mkdir()
    assert parse_source(tmp_path) is None
    assert parse_source(tmp_path / "clips.mp4") is None
    for text in ("photo.png", "s3://bucket/photos", "s3://bucket/clip.mp4", "https://host/photo.jpg", "file:///a.mp4"):
        assert parse_source(text) is None
    (tmp_path / "photo[1].png").touch()
    assert parse_source(tmp_path / "photo[1].png") is None  # by its name, not a pattern


@pytest.mark.parametrize(
    "text, words",
    [
        ("camera:front", "camera:0"),
        ("missing.mp4", "no such file"),
        ("nothing_%03d.png", "no image has such a name"),
        ("nothing_*.png", "no image has such a name"),
        ("%d_%d.png", "one number"),
    ],
)
def test_what_cannot_be_is_refused(text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=words):
        parse_source(text)


@pytest.mark.parametrize("pattern", ["*.MP4", "*", "clip_%d.MP4"])
def test_a_pattern_of_videos_is_no_sequence(pattern: str, tmp_path: Path) -> None:
    for name in ("clip_1.MP4", "clip_2.MP4", "a.png"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"clip_1\.MP4 is a video; name videos one by one, or the pattern without"):
        parse_source(tmp_path / pattern)


def test_a_sequence_goes_by_number_and_a_gap_is_refused(tmp_path: Path) -> None:
    for number in (9, 10, 11):
        cv2.imwrite(str(tmp_path / f"scan_{number}.png"), draw_frame(number))
    source = parse_source(tmp_path / "scan_%d.png")
    assert source is not None and source.stem == "scan"
    assert [image.name for image in source.images] == ["scan_9.png", "scan_10.png", "scan_11.png"]
    (tmp_path / "scan_10.png").unlink()
    with pytest.raises(InputError, match=r"scan_10\.png: missing in the sequence, which goes on with scan_11\.png"):
        parse_source(tmp_path / "scan_%d.png")


def test_percent_signs_beside_the_number_of_a_sequence_are_part_of_the_name(tmp_path: Path) -> None:
    for number in (1, 2):
        cv2.imwrite(str(tmp_path / f"100%_{number:04d}.png"), draw_frame(number))
    source = parse_source(tmp_path / "100%_%04d.png")
    assert source is not None and source.stem == "100"
    assert [image.name for image in source.images] == ["100%_0001.png", "100%_0002.png"]


def test_an_existing_file_is_taken_by_its_name_whatever_signs_it_has(tmp_path: Path) -> None:
    path = tmp_path / "clip_%03d[1].mp4"
    path.write_bytes(b"x")
    source = parse_source(path)
    assert source is not None and source.path == path


@pytest.mark.parametrize("codec", ["mp4v", "vp9", "mjpeg"])
def test_lossy_codecs_are_refused_for_masks(codec: str) -> None:
    assert parse_overlay_codec(codec) == codec
    with pytest.raises(InputError, match=f"{codec} does not keep pixels exactly.*ffv1 or png"):
        parse_mask_video(codec)


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="nothing is left to write"):
        VideoOptions(overlay=False)
    for wrong, words in (
        (lambda: VideoOptions(every=0), "--every"),
        (lambda: VideoOptions(max_frames=0), "--max-frames"),
        (lambda: VideoOptions(fps=float("nan")), "--fps"),
        (lambda: VideoOptions(fps=0), "--fps"),
        (lambda: parse_overlay_codec("h264"), "none of mp4v"),
    ):
        with pytest.raises(InputError, match=words):
            wrong()


def test_results_that_would_meet_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("x.mp4", "x.avi", "y.mp4", "y.overlay.mp4")]
    for file in files:
        file.write_bytes(b"x")
    x_mp4, x_avi, y, y_overlay = (source for file in files if (source := parse_source(file)) is not None)
    card = make_card()
    with pytest.raises(InputError, match="would both be written to"):
        check_apart([x_mp4, x_avi], tmp_path, card, VideoOptions())
    with pytest.raises(InputError, match="would overwrite an input"):
        check_apart([y, y_overlay], tmp_path, card, VideoOptions())
    check_apart([x_mp4, y], tmp_path, card, VideoOptions())


@pytest.mark.parametrize(
    "times_ms, promised, is_exact, incomplete",
    [
        (range(0, 1000, 40), 25, True, False),
        (range(0, 960, 40), 25, True, True),  # the last one is missing
        (range(0, 960, 40), 25, False, False),  # an estimate may be off by one
        ([*range(0, 400, 40), *range(600, 1000, 40)], 25, False, True),  # five are missing in the middle
        (range(0, 1000, 40), 50, True, True),  # half of it
        ([time * 2 for time in range(0, 1000, 40)], 25, True, False),  # slower than was said, but all are there
    ],
)
def test_missing_frames_show_in_the_times(
    times_ms: list[float], promised: int, is_exact: bool, incomplete: bool
) -> None:
    times = FrameTimes(25)
    for time_ms in times_ms:
        times.add(time_ms)
    assert times.is_incomplete(promised, is_exact) is incomplete
