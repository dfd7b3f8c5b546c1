"""Runs that are ended from outside: what is through is kept, or nothing half-written is left."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segdino_deploy.video import VideoOptions, segment_video
from tests.video.models import Camera, Toy, draw_frames, live, make_old, read_video, write_video


def start(
    source: str,
    output: Path,
    *,
    seconds: float = 0.02,
    largest: int = 0,
    masks: str = "ffv1",
    completing: str = "at once",
) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "tests.video.child", source, str(output), str(seconds), str(largest), masks]
    root = Path(__file__).parents[2]
    pipe = subprocess.PIPE
    return subprocess.Popen([*line, completing], cwd=root, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def await_line(process: subprocess.Popen[str], ending: str) -> None:
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.endswith(ending), line + process.stderr.read()


def await_frames(process: subprocess.Popen[str]) -> None:
    """Until the first frame is through."""
    await_line(process, "1 frames; Ctrl-C ends it ...\n")
    time.sleep(0.3)


def check_recording(folder: Path) -> int:
    """Both files, of equally many frames."""
    assert sorted(file.name for file in folder.iterdir()) == ["camera.mask.mkv", "camera.overlay.mp4"]
    (count,) = {len(read_video(file)) for file in folder.iterdir()}
    return count


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_ending_a_live_run_leaves_a_video_that_plays(ending: signal.Signals, tmp_path: Path) -> None:
    process = start("live", tmp_path / "out")
    await_frames(process)
    process.send_signal(ending)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    (report,) = json.loads(stdout)["videos"]
    assert report["interrupted"]
    assert check_recording(tmp_path / "out") == report["frames_written"] > 0


def test_an_impatient_second_ctrl_c_does_not_take_the_video_away(tmp_path: Path) -> None:
    """It comes while the video is being completed, which waits for it."""
    process = start("live", tmp_path / "out", completing="waits")
    await_frames(process)
    process.send_signal(signal.SIGINT)
    await_line(process, "completing\n")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(input="\n", timeout=60)
    assert process.returncode == 130, stderr
    assert check_recording(tmp_path / "out") > 0


def test_a_kill_leaves_temporary_files_only_which_a_later_run_of_that_name_removes(tmp_path: Path) -> None:
    process = start("live", tmp_path / "out", masks="png")
    await_frames(process)
    process.kill()
    process.communicate(timeout=60)
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names and all(name.startswith(".") and name.endswith(".tmp") for name in names)
    options = VideoOptions(mask_video="png")
    segment_video(Toy(), live(Camera(count=3, fps=50)), tmp_path / "out", options)
    results = {"camera.mask", "camera.overlay.mp4"}
    assert {file.name for file in (tmp_path / "out").iterdir()} == results | names  # of another machine, perhaps
    assert {path.name for path in make_old(tmp_path / "out")} == names
    for result in results:
        (tmp_path / "out" / result).rename(tmp_path / result)
    segment_video(Toy(), live(Camera(count=3, fps=50)), tmp_path / "out", options)
    assert {file.name for file in (tmp_path / "out").iterdir()} == results


def test_a_damaged_video_is_one_line_on_stderr_without_the_decoder_s_own(tmp_path: Path) -> None:
    source = write_video(tmp_path / "cut.mp4", draw_frames(20))
    source.write_bytes(source.read_bytes()[:-900])
    _, stderr = (process := start(str(source), tmp_path / "out")).communicate(timeout=60)
    assert (process.returncode, len(stderr.splitlines())) == (2, 1), stderr


@pytest.mark.parametrize("masks", ["ffv1", "png"])
def test_a_file_that_may_not_grow_is_an_error_and_leaves_nothing(masks: str, tmp_path: Path) -> None:
    """As on a full disk, FFmpeg cannot write and OpenCV says nothing of it."""
    source = write_video(tmp_path / "clip.avi", draw_frames(60), fourcc="MJPG")
    largest = 3_000 if masks == "ffv1" else 150
    process = start(str(source), tmp_path / "out", seconds=0, largest=largest, masks=masks)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2, stderr
    words = "is the disk full, or a limit on the size of files reached" if masks == "ffv1" else "no space left to write"
    assert words in stderr.splitlines()[-1]
    assert list((tmp_path / "out").iterdir()) == []
    assert source.exists()
