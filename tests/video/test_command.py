"""What `predict` prints of videos, and its exit codes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from segdino_deploy.cli.video_options import (
    predict_videos,
    refuse_image_options,
    refuse_video_options,
    split_inputs,
    video_options,
)
from segdino_deploy.errors import CheckFailed, InputError
from segdino_deploy.video import VideoOptions, segment_video
from segdino_deploy.video.stderr import without_opencv_lines
from tests.cli.conftest import Cli
from tests.video.models import Toy, UInt8, draw_frames, read_video, write_video


def test_a_video_that_fails_is_counted_and_stops_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.mp4", "c.mp4"):
        write_video(tmp_path / name, draw_frames(5))
    (tmp_path / "b.mp4").write_text("no video")
    cut = write_video(tmp_path / "d.avi", draw_frames(20), fourcc="MJPG")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    sources, images = split_inputs([str(tmp_path / name) for name in ("a.mp4", "b.mp4", "c.mp4", "d.avi")])
    assert images == []
    with pytest.raises(CheckFailed, match=r"b\.mp4: not a video.*\(2 of 4 videos failed or are incomplete\)"):
        predict_videos(Toy(), sources, tmp_path / "out", VideoOptions(mask_video="ffv1"), as_json=True)
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert document["engine"] == "toy fp32 on CPU"
    assert [Path(video["source"]).name for video in document["videos"]] == ["a.mp4", "c.mp4", "d.avi"]
    assert len(document["failures"]) == 2 and "of 20 promised" in document["failures"][1]
    for video in document["videos"]:
        for output in video["outputs"]:
            assert len(read_video(Path(output["path"]))) == video["frames_written"]


def test_a_note_of_several_videos_is_told_once_and_a_silent_video_has_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a_1.png", "b_1.png"):
        cv2.imwrite(str(tmp_path / name), draw_frames(1)[0])
    write_video(tmp_path / "c.mp4", draw_frames(3))
    sources, _ = split_inputs([str(tmp_path / name) for name in ("a_%d.png", "b_%d.png", "c.mp4")])
    predict_videos(Toy(), sources, tmp_path / "out", VideoOptions(), as_json=False)
    told = capsys.readouterr().err
    assert told.count("the source names no frame rate") == 1
    assert "sound" not in told


def test_the_encoder_prints_nothing_of_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """OpenCV says of VP9 in WebM that its tag is not supported, and writes it."""
    source = write_video(tmp_path / "a.mp4", draw_frames(3))
    segment_video(Toy(), source, tmp_path / "out", VideoOptions(overlay_codec="vp9"))
    assert capfd.readouterr().err == ""


def test_what_others_print_while_a_video_is_opened_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    with without_opencv_lines():
        os.write(2, b"OpenCV: FFMPEG: tag 0x30395056/'VP90' is not supported\nanother thread's\n")
    assert capfd.readouterr().err == "another thread's\n"


def cut_video(path: Path) -> Path:
    """Incomplete: 20 frames are promised."""
    write_video(path, draw_frames(20), fourcc="MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def test_every_incomplete_video_is_told_as_soon_as_it_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [
        cut_video(tmp_path / "a.avi"),
        write_video(tmp_path / "b.mp4", draw_frames(3)),
        cut_video(tmp_path / "c.avi"),
    ]
    sources, _ = split_inputs([str(path) for path in paths])
    with pytest.raises(CheckFailed, match=r"a\.avi: .*\(2 of 3 videos failed or are incomplete\)"):
        predict_videos(Toy(), sources, tmp_path / "out", VideoOptions(), as_json=False)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("incomplete: ")]
    assert [Path(line.split(": ")[1]).name for line in lines] == ["a.avi", "c.avi"]
    assert all("of 20 promised frames could be read" in line for line in lines)


@pytest.mark.parametrize("frames", [3, 0])
def test_ctrl_c_on_a_later_video_takes_no_report_away(
    frames: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether frames of that one are through, or none."""

    class Interrupted(Toy):
        def _run(self, image_nhwc: UInt8) -> dict[str, NDArray[np.generic]]:
            if len(self.batches) == of_first + frames:
                raise KeyboardInterrupt
            return super()._run(image_nhwc)

    paths = [cut_video(tmp_path / "a.avi"), write_video(tmp_path / "b.mp4", draw_frames(9))]
    of_first = len(read_video(paths[0]))
    sources, _ = split_inputs([str(path) for path in paths])
    with pytest.raises(KeyboardInterrupt):
        predict_videos(Interrupted(), sources, tmp_path / "out", VideoOptions(), as_json=True)
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert [video["frames_written"] for video in document["videos"]] == [of_first, *([frames] if frames else [])]
    assert len(document["failures"]) == 1 and "of 20 promised" in document["failures"][0]
    assert "incomplete: " in printed.err
    written = [path.name for path in (tmp_path / "out").iterdir()]
    assert sorted(written) == ["a.overlay.mp4", *(["b.overlay.mp4"] if frames else [])]


def test_people_get_one_line_per_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources, _ = split_inputs([str(write_video(tmp_path / "a.mp4", draw_frames(6)))])
    predict_videos(Toy(), sources, tmp_path, video_options(True, None, None, None, 2, None, None), as_json=False)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{tmp_path / 'a.mp4'}: 3 of 6 frames segmented by toy fp32 on CPU, 3 skipped, ")
    assert "frames/s; latency p50" in line and line.endswith(f": {tmp_path / 'a.overlay.mp4'}")


def test_one_damaged_video_alone_is_exit_code_one_and_one_without_frames_two(tmp_path: Path) -> None:
    cut = write_video(tmp_path / "d.avi", draw_frames(20), fourcc="MJPG")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    sources, _ = split_inputs([str(cut)])
    with pytest.raises(CheckFailed, match=r"d\.avi: \d+ of 20 promised frames could be read"):
        predict_videos(Toy(), sources, tmp_path / "out", VideoOptions(), as_json=True)
    cut.write_text("no video")
    with pytest.raises(InputError, match="not a video"):
        predict_videos(Toy(), sources, tmp_path / "out", VideoOptions(), as_json=True)


def test_images_and_videos_are_not_mixed_and_options_stay_with_their_kind(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", draw_frames(2))
    with pytest.raises(InputError, match="run images and videos apart"):
        split_inputs([str(tmp_path / "a.mp4"), "photo.png"])
    with pytest.raises(InputError, match="--mask-video and --every: of videos"):
        refuse_video_options(mask_video="ffv1", every=2, fps=None)
    refuse_video_options(mask_video=None, every=None)
    with pytest.raises(InputError, match="--table and --resume: of images"):
        refuse_image_options(table="t.csv", resume=True, ray=None)
    refuse_image_options(resume=False, table=None)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    """What `predict` opens instead of an engine."""
    runner = Toy(batch=4)
    monkeypatch.setattr("segdino_deploy.engines.run.open_engine", lambda *_, **__: runner)
    return runner


def test_predict_runs_a_video_with_its_options(cli: Cli, toy: Toy, tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", draw_frames(20), fps=20)
    line = ("predict", "x.segdino", source, "-o", tmp_path / "out")
    options = ("--overlay-codec", "mjpeg", "--mask-video", "ffv1", "--every", "2", "--max-frames", "7")
    result = cli(*line, *options, "--batch-size", "2", "--fps", "50", "--json")
    assert result.code == 0
    (video,) = json.loads(result.stdout)["videos"]
    assert (video["frames_segmented"], video["written_fps"]) == (7, 25.0)
    assert toy.batches == [2, 2, 2, 1]
    assert [Path(output["path"]).name for output in video["outputs"]] == ["a.overlay.avi", "a.mask.mkv"]
    assert all(len(read_video(Path(output["path"]))) == 7 for output in video["outputs"])


@pytest.mark.parametrize(
    "option",
    [
        *[("--ray-actors", "2"), ("--ray-cpus", "2"), ("--ray-gpus", "0.5"), ("--ray", "local"), ("--workers", "1")],
        *[("--mode", "tile"), ("--tile", "64"), ("--overlap", "8"), ("--mask-format", "tiff")],
        *[("--table", "t.csv"), ("--resume",)],
    ],
    ids=lambda option: option[0],
)
def test_predict_refuses_options_of_images_for_a_video(
    option: tuple[str, ...], cli: Cli, toy: Toy, tmp_path: Path
) -> None:
    source = write_video(tmp_path / "a.mp4", draw_frames(2))
    result = cli("predict", "x.segdino", source, "-o", tmp_path / "out", *option)
    assert (result.code, toy.batches) == (2, [])
    assert result.error == f"error: {option[0]}: of images, but the inputs are videos"
