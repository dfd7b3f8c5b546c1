"""Damaged videos, and places that cannot be written: stated in one line, and nothing half-written."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from segdino_deploy.errors import InputError, SegdinoDeployError
from segdino_deploy.video import VideoOptions, segment_video
from tests.video.models import Toy, draw_frames, expected_mask, read_video, write_video

BOTH = VideoOptions(mask_video="ffv1")


@pytest.mark.parametrize("suffix, fourcc", [("mkv", "FFV1"), ("avi", "MJPG"), ("webm", "VP80")])
def test_of_a_video_cut_short_what_can_be_read_is_segmented(suffix: str, fourcc: str, tmp_path: Path) -> None:
    source = write_video(tmp_path / f"clip.{suffix}", draw_frames(40), fourcc=fourcc)
    source.write_bytes(source.read_bytes()[: int(source.stat().st_size * 0.6)])
    readable = read_video(source)
    assert 5 < len(readable) < 35
    runner = Toy()
    report = segment_video(runner, source, tmp_path / "out", BOTH)
    promised = f"{len(readable)} of 40 promised frames could be read: it is cut short or damaged"
    assert (report.frames_promised, report.problem) == (40, promised)
    for frame, mask in zip(readable, read_video(tmp_path / "out" / "clip.mask.mkv"), strict=True):
        np.testing.assert_array_equal(mask[..., 0], expected_mask(frame, runner.card) * 255)


@pytest.mark.parametrize("suffix, fourcc", [("mp4", "mp4v"), ("mkv", "FFV1"), ("avi", "MJPG")])
def test_damage_in_the_middle_is_stated(suffix: str, fourcc: str, tmp_path: Path) -> None:
    source = write_video(tmp_path / f"clip.{suffix}", draw_frames(40), fourcc=fourcc)
    content = bytearray(source.read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    source.write_bytes(content)
    readable = read_video(source)
    assert 5 < len(readable) < 40
    report = segment_video(Toy(), source, tmp_path / "out", BOTH)
    assert report.problem.startswith(f"{len(readable)} of 40 promised frames could be read")
    assert len(read_video(tmp_path / "out" / "clip.overlay.mp4")) == len(readable)


def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path) -> None:
    lost_index = write_video(tmp_path / "cut.mp4", draw_frames(20))
    lost_index.write_bytes(lost_index.read_bytes()[:-900])
    text = tmp_path / "text.mp4"
    text.write_text("no video " * 500)
    for path, words in ((lost_index, "may have lost its index"), (text, "not a video that can be read")):
        with pytest.raises(InputError, match=words) as caught:
            segment_video(Toy(), path, tmp_path / "out")
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(InputError, match="an empty file"):
        segment_video(Toy(), tmp_path / "empty.mp4", tmp_path / "out")
    without_frames = tmp_path / "without.avi"
    writer = cv2.VideoWriter(str(without_frames), cv2.VideoWriter.fourcc(*"MJPG"), 25, (96, 64))
    writer.release()
    with pytest.raises(InputError, match=r"without\.avi: (no frame|not a video)"):
        segment_video(Toy(), without_frames, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_frames_that_an_edit_list_hides_are_not_missing(tmp_path: Path) -> None:
    """Cut to its first half without encoding it again: 60 frames in the file, of which 30 are shown."""
    source = write_video(tmp_path / "clip.mp4", draw_frames(60))
    content = bytearray(source.read_bytes())
    for kind, before in ((b"elst", 4 + 4), (b"tkhd", 4 + 4 + 4 + 4 + 4)):  # bytes before the duration, of 32 bits each
        place = content.index(kind) + 4 + before
        assert int.from_bytes(content[place : place + 4], "big") == 2400
        content[place : place + 4] = (1200).to_bytes(4, "big")
    source.write_bytes(content)
    report = segment_video(Toy(), source, tmp_path / "out", BOTH)
    assert (report.frames_promised, report.frames_written, report.problem) == (30, 30, "")


def test_a_damaged_image_ends_its_sequence_and_is_named(tmp_path: Path) -> None:
    for index, frame in enumerate(draw_frames(6)):
        cv2.imwrite(str(tmp_path / f"{index}.png"), frame)
    (tmp_path / "4.png").write_bytes((tmp_path / "4.png").read_bytes()[:200])
    report = segment_video(Toy(), str(tmp_path / "%d.png"), tmp_path / "out", BOTH)
    assert (
        report.problem.startswith("4 of 6 promised frames could be read") and "4.png: damaged image" in report.problem
    )
    assert report.frames_written == 4


def test_an_engine_that_fails_on_the_way_leaves_a_video_of_what_was_done(tmp_path: Path) -> None:
    source = write_video(tmp_path / "clip.mp4", draw_frames(20))
    report = segment_video(Toy(fails_at=8), source, tmp_path / "out", BOTH)
    assert report.problem == "toy fp32 engine failed: out of order"
    assert len(read_video(tmp_path / "out" / "clip.mask.mkv")) == report.frames_written == 8
    with pytest.raises(SegdinoDeployError, match="out of order"):
        segment_video(Toy(fails_at=0), source, tmp_path / "other", BOTH)
    assert list((tmp_path / "other").iterdir()) == []
