"""The names of results: a recording is never replaced, and none is lost for its name."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from segdino_deploy.errors import InputError
from segdino_deploy.video import VideoOptions, VideoReport, VideoSource, segment_video
from tests.video.models import Camera, Toy, draw_frames, live, make_old, read_video, recorded

PNG = VideoOptions(mask_video="png")


def record(count: int, output: Path, options: VideoOptions = VideoOptions()) -> VideoReport:
    """Smaller frames than those of `record_during`."""
    camera = Camera(frames=draw_frames(count, width=64, height=48), seconds=0.01, fps=50)
    return segment_video(Toy(), live(camera), output, options)


def record_during(meanwhile: object, count: int, output: Path, options: VideoOptions, is_live: bool) -> VideoReport:
    """`count` frames; `meanwhile` is called before the last one."""
    assert callable(meanwhile)
    camera = Camera(frames=draw_frames(count), fps=50)
    camera.before_grab = lambda number: number == count - 1 and meanwhile()
    source = live(camera) if is_live else recorded(camera)
    return segment_video(Toy(), source, output, options)


def content(folder: Path) -> dict[str, int]:
    """Frames of each file, and files in each folder."""
    return {
        path.name: len(list(path.iterdir())) if path.is_dir() else len(read_video(path)) for path in folder.iterdir()
    }


@pytest.mark.parametrize("has_links", [True, False], ids=["links", "no links"])
def test_of_two_recordings_at_once_both_are_kept(
    has_links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as rtsp://cam1/live and rtsp://cam2/live. Some disks, exFAT for one, have no hard links."""
    if not has_links:

        def refuse(*_: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    first: list[VideoReport] = []
    second = record_during(lambda: first.append(record(3, tmp_path, PNG)), 6, tmp_path, PNG, is_live=True)
    written = {number: report.frames_written for number, report in (("", first[0]), (".2", second))}
    expected = {f"camera.overlay{number}.mp4": count for number, count in written.items()}
    expected |= {f"camera.mask{number}": count for number, count in written.items()}
    assert content(tmp_path) == expected
    shapes = [read_video(tmp_path / f"camera.overlay{number}.mp4")[0].shape for number in written]
    assert shapes == [(48, 64, 3), (64, 96, 3)]
    assert {Path(output.path).name for output in second.outputs} == {"camera.overlay.2.mp4", "camera.mask.2"}
    assert any("camera.overlay.mp4" in note and "written to camera.overlay.2.mp4" in note for note in second.notes)
    assert not any("written to" in note for note in first[0].notes)


def test_the_results_of_one_recording_have_the_same_number(tmp_path: Path) -> None:
    """The name of the masks, which are published first, is free; that of the overlay is not."""
    taken = tmp_path / "camera.overlay.mp4"
    report = record_during(lambda: taken.write_text("mine"), 4, tmp_path, PNG, is_live=True)
    assert taken.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "camera.mask.2",
        "camera.overlay.2.mp4",
        "camera.overlay.mp4",
    ]
    assert len(list((tmp_path / "camera.mask.2").iterdir())) == report.frames_written


def test_a_folder_of_masks_that_came_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    def meanwhile() -> None:
        (tmp_path / "recording.mask").mkdir()
        (tmp_path / "recording.mask" / "mine.png").write_text("mine")

    report = record_during(meanwhile, 4, tmp_path, PNG, is_live=False)
    assert content(tmp_path) == {"recording.mask": 1, "recording.mask.2": 4, "recording.overlay.2.mp4": 4}
    assert report.problem == ""


def test_the_result_of_a_file_replaces_the_one_of_an_earlier_run(tmp_path: Path) -> None:
    for count in (5, 3):
        segment_video(Toy(), recorded(Camera(frames=draw_frames(count), fps=25)), tmp_path)
    assert content(tmp_path) == {"recording.overlay.mp4": 3}


@pytest.mark.parametrize("is_live", [True, None], ids=["known", "seen when opened"])
def test_an_earlier_recording_is_not_replaced(is_live: bool | None, tmp_path: Path) -> None:
    """Whether an http:// source is live shows only when it is opened."""
    record(3, tmp_path)
    before = (tmp_path / "camera.overlay.mp4").read_bytes()
    camera = Camera(count=3)
    source = VideoSource("the camera", "camera", lambda: camera, is_live=is_live)
    with pytest.raises(InputError, match="an earlier recording is not replaced"):
        segment_video(Toy(), source, tmp_path)
    assert (tmp_path / "camera.overlay.mp4").read_bytes() == before
    assert content(tmp_path).keys() == {"camera.overlay.mp4"}


def test_temporary_files_of_runs_that_still_go_on_are_left_alone(tmp_path: Path) -> None:
    """Of the same name, and started later: what it removes is of killed runs only."""
    hidden: list[set[str]] = []

    def meanwhile() -> None:
        hidden.append({path.name for path in make_old(tmp_path)})
        record(3, tmp_path)
        hidden.append({path.name for path in tmp_path.iterdir() if path.name.startswith(".")})

    report = record_during(meanwhile, 4, tmp_path, VideoOptions(), is_live=True)
    assert hidden[0] == hidden[1] and len(hidden[0]) == 1
    assert len(read_video(Path(report.outputs[0].path))) == report.frames_written
