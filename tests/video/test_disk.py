"""Places that cannot be written, and disks that run full: stated in one line, and nothing half-written."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from segdino_deploy.errors import InputError, SegdinoDeployError
from segdino_deploy.video import VideoOptions, segment_video
from segdino_deploy.video.sink import VideoSink
from tests.video.models import Camera, Toy, draw_frames, live, read_video, recorded, write_video

BOTH = VideoOptions(mask_video="ffv1")
Usage = namedtuple("Usage", "total used free")


def test_a_writer_that_fails_in_silence_is_found_out(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "a.mkv", "ffv1", 25, (64, 96), is_color=True)
    for frame in draw_frames(5):
        sink.write(frame)
    sink._last = draw_frames(1)[0]  # as if the file held another frame
    with pytest.raises(SegdinoDeployError, match="differs in frame 5"):
        sink.finish()
    sink.discard()
    lost = VideoSink(tmp_path / "b.mp4", "mp4v", 25, (64, 96), is_color=True)
    for frame in draw_frames(5):
        lost.write(frame)
    lost.written += 1  # as if one frame had not been taken
    with pytest.raises(SegdinoDeployError, match="has 5 of 6 frames"):
        lost.finish()
    lost.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size, ends", [((96, 64), False), ((1280, 720), True)])
def test_the_room_that_is_left_for_completing_a_video_grows_with_its_frames(
    size: tuple[int, int], ends: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 40 << 20))
    camera = Camera(frames=draw_frames(3, *size), fps=25)
    report = segment_video(Toy(), recorded(camera), tmp_path, BOTH)
    assert ("MiB are free in" in report.problem) is ends
    assert len(read_video(tmp_path / "recording.overlay.mp4")) == report.frames_written == (1 if ends else 3)


def test_repeated_frames_of_a_live_source_are_no_more_than_the_disk_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[object] = []

    def usage(place: object) -> Usage:
        looks.append(place)
        return Usage(10**9, 10**9, 10**9 if len(looks) < 5 else 10**6)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    runner, camera = Toy(seconds=0.2), Camera(seconds=0.002, count=200, fps=500)
    camera.before_grab = lambda number: number == 0 or runner.has_begun.wait(30)
    report = segment_video(runner, live(camera), tmp_path, BOTH)
    assert "MiB are free in" in report.problem
    assert report.frames_written == 5 and report.frames_repeated > 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """64 MiB of memory as a disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(line, capture_output=True).returncode != 0:
        pytest.skip("only root, with the right to mount, can make a disk that really runs full")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_really_runs_full_ends_a_video_that_plays(small_disk: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8)  # 2.8 MB a frame, in FFV1, too
    camera = Camera(frames=[noise] * 30, fps=25)
    report = segment_video(Toy(), recorded(camera), small_disk / "out", VideoOptions(overlay_codec="ffv1"))
    assert "MiB are free in" in report.problem
    assert 1 <= report.frames_written < 30
    assert [file.name for file in (small_disk / "out").iterdir()] == ["recording.overlay.mkv"]
    assert len(read_video(small_disk / "out" / "recording.overlay.mkv")) == report.frames_written


def test_a_rate_that_a_codec_cannot_hold_is_named_with_codecs_that_can(tmp_path: Path) -> None:
    """MPEG-4 counts time in at most 65535 parts of a second; 142.857 frames per second are 142857/1000."""
    camera = Camera(frames=draw_frames(3), fps=142.857)
    with pytest.raises(
        InputError, match=r"mp4v cannot hold 142\.857 frames per second; .* vp9, mjpeg or ffv1"
    ) as caught:
        segment_video(Toy(), recorded(camera), tmp_path)
    assert "pip install" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    for codec in ("vp9", "mjpeg", "ffv1"):
        held = recorded(Camera(frames=draw_frames(3), fps=142.857))
        report = segment_video(Toy(), held, tmp_path / codec, VideoOptions(overlay_codec=codec))  # type: ignore[arg-type]
        assert report.frames_written == 3


@pytest.mark.parametrize("options", [BOTH, VideoOptions(overlay=False, mask_video="png")], ids=["video", "folder"])
def test_no_permission_to_write_is_one_line(
    options: VideoOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the operating system refuses it; root, who runs some test machines, it would refuse nothing."""
    source = write_video(tmp_path / "clip.mp4", draw_frames(3))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(InputError, match="no permission to write"):
        segment_video(Toy(), source, tmp_path, options)
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_file_where_the_folder_should_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="a file stands where a folder is needed"):
        segment_video(Toy(), write_video(tmp_path / "clip.mp4", draw_frames(3)), tmp_path / "out")
