"""Files: every frame, once, exactly, at the same rate."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from segdino_deploy.errors import InputError
from segdino_deploy.images import overlay
from segdino_deploy.segment import segment_file
from segdino_deploy.video import VideoOptions, segment_video
from tests.video.models import (
    Camera,
    Toy,
    Upstream,
    draw_frame,
    draw_frames,
    expected_mask,
    fps_of,
    read_video,
    recorded,
    write_video,
)

BOTH = VideoOptions(mask_video="ffv1")


def test_masks_of_a_video_are_those_of_its_frames_as_images(tmp_path: Path) -> None:
    """Upstream's checkpoint: each decoded frame, saved as PNG and segmented as an image, has the mask of the video."""
    runner = Upstream("v1_paper")
    source = write_video(tmp_path / "clip.mp4", draw_frames(40, width=128, height=96))
    report = segment_video(runner, source, tmp_path / "out", BOTH)
    frames, masks = read_video(source), read_video(tmp_path / "out" / "clip.mask.mkv")
    assert len(frames) == len(masks) == report.frames_written == 40
    values = set()
    for frame, written in zip(frames, masks, strict=True):
        Image.fromarray(frame[..., ::-1]).save(tmp_path / "frame.png")
        _, by_head = segment_file(runner, tmp_path / "frame.png")
        np.testing.assert_array_equal(written[..., 0], by_head[""] * 255)
        values |= set(np.unique(written).tolist())
    assert values == {0, 255}  # the comparison was of something


def test_class_indices_come_through_exactly_and_overlays_show_them(tmp_path: Path) -> None:
    runner = Toy(classes=6)
    source = write_video(tmp_path / "clip.mp4", draw_frames(30))
    segment_video(runner, source, tmp_path, BOTH)
    frames = read_video(source)
    expected = [expected_mask(frame, runner.card) for frame in frames]
    assert len(np.unique(expected)) > 3
    written = read_video(tmp_path / "clip.mask.mkv")
    overlays = read_video(tmp_path / "clip.overlay.mp4")
    assert len(written) == len(overlays) == 30
    for frame, mask, of_mask, shown in zip(frames, expected, written, overlays, strict=True):
        np.testing.assert_array_equal(of_mask[..., 0], mask)
        painted = overlay(np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), dtype=np.uint8), mask)
        assert cv2.PSNR(cv2.cvtColor(shown, cv2.COLOR_BGR2RGB), painted) > 24


def test_a_lossless_overlay_is_the_one_of_images(tmp_path: Path) -> None:
    runner = Toy(classes=6)
    source = write_video(tmp_path / "clip.mp4", draw_frames(8))
    segment_video(runner, source, tmp_path, VideoOptions(overlay_codec="ffv1"))
    for frame, shown in zip(read_video(source), read_video(tmp_path / "clip.overlay.mkv"), strict=True):
        rgb = np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        painted = overlay(rgb, expected_mask(frame, runner.card))
        difference = painted.astype(int) - cv2.cvtColor(shown, cv2.COLOR_BGR2RGB)
        assert np.abs(difference).max() <= 1  # of rounding


@pytest.mark.parametrize("codec, suffix", [("mp4v", "mp4"), ("vp9", "webm"), ("mjpeg", "avi"), ("ffv1", "mkv")])
@pytest.mark.parametrize("fps", [30000 / 1001, 12.5])
def test_rate_and_size_are_kept_by_every_codec(codec: str, suffix: str, fps: float, tmp_path: Path) -> None:
    source = write_video(tmp_path / "clip.avi", draw_frames(12), fps, "MJPG")
    report = segment_video(Toy(), source, tmp_path, VideoOptions(overlay_codec=codec))  # type: ignore[arg-type]
    written = tmp_path / f"clip.overlay.{suffix}"
    assert fps_of(written) == pytest.approx(fps, abs=0.01) == report.written_fps
    assert [frame.shape for frame in read_video(written)] == [(64, 96, 3)] * 12


@pytest.mark.parametrize("codec", ["mp4v", "vp9", "mjpeg", "ffv1"])
@pytest.mark.parametrize("count", [1, 2])
def test_videos_of_one_frame_and_of_two_are_written_by_every_codec(codec: str, count: int, tmp_path: Path) -> None:
    source = write_video(tmp_path / "clip.avi", draw_frames(5), fourcc="MJPG")
    options = VideoOptions(overlay_codec=codec, mask_video="ffv1", max_frames=count)  # type: ignore[arg-type]
    report = segment_video(Toy(), source, tmp_path / "out", options)
    assert (report.frames_written, report.problem) == (count, "")
    assert [len(read_video(Path(output.path))) for output in report.outputs] == [count, count]


def test_frames_go_to_the_engine_in_batches_and_none_is_lost(tmp_path: Path) -> None:
    runner = Toy(batch=4)
    source = write_video(tmp_path / "clip.avi", draw_frames(10), fourcc="MJPG")
    counts: list[tuple[int, int]] = []
    report = segment_video(runner, source, tmp_path, BOTH, lambda done, total: counts.append((done, total)))
    assert runner.batches == [4, 4, 2]
    assert counts == [(4, 10), (8, 10), (10, 10)]
    assert (report.frames_read, report.frames_segmented, report.frames_dropped, report.frames_abandoned) == (
        *(10, 10),
        *(0, 0),
    )
    frames, masks = read_video(source), read_video(tmp_path / "clip.mask.mkv")
    for frame, mask in zip(frames, masks, strict=True):
        np.testing.assert_array_equal(mask[..., 0], expected_mask(frame, runner.card) * 255)
    with pytest.raises(InputError, match="--batch-size: 5"):
        segment_video(runner, source, tmp_path, VideoOptions(batch_size=5))


def test_every_third_frame_up_to_a_number_of_them(tmp_path: Path) -> None:
    runner = Toy()
    source = write_video(tmp_path / "clip.avi", draw_frames(40), 30, "MJPG")
    report = segment_video(runner, source, tmp_path, VideoOptions(mask_video="ffv1", every=3, max_frames=5))
    assert (report.frames_segmented, report.frames_skipped, report.problem) == (5, 8, "")
    assert fps_of(tmp_path / "clip.mask.mkv") == pytest.approx(10)
    frames, masks = read_video(source)[::3][:5], read_video(tmp_path / "clip.mask.mkv")
    for frame, mask in zip(frames, masks, strict=True):
        np.testing.assert_array_equal(mask[..., 0], expected_mask(frame, runner.card) * 255)
    whole = segment_video(runner, source, tmp_path, VideoOptions(every=3))
    assert (whole.frames_segmented, whole.frames_read, whole.problem) == (14, 40, "")


def test_each_head_has_its_videos(tmp_path: Path) -> None:
    source = write_video(tmp_path / "clip.mp4", draw_frames(5))
    report = segment_video(Toy(heads=("polyp", "tissue")), source, tmp_path / "out", BOTH)
    names = ["clip.polyp.overlay.mp4", "clip.polyp.mask.mkv", "clip.tissue.overlay.mp4", "clip.tissue.mask.mkv"]
    assert [Path(output.path).name for output in report.outputs] == names
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted(names)
    assert all(len(read_video(tmp_path / "out" / name)) == 5 for name in names)


def test_odd_sizes_lose_no_pixel(tmp_path: Path) -> None:
    """OpenCV writes even sizes only, and would cut the rest off in silence."""
    runner = Toy()
    for index, frame in enumerate(draw_frames(4, width=97, height=65)):
        cv2.imwrite(str(tmp_path / f"frame_{index:02d}.png"), frame)
    report = segment_video(runner, str(tmp_path / "frame_%02d.png"), tmp_path / "out", BOTH)
    assert any("97x65 is odd" in note for note in report.notes)
    for index, mask in enumerate(read_video(tmp_path / "out" / "frame.mask.mkv")):
        assert mask.shape == (66, 98, 3)
        expected = expected_mask(draw_frame(index, 97, 65), runner.card) * 255
        np.testing.assert_array_equal(mask[:65, :97, 0], expected)


def test_masks_as_png_files_have_the_size_and_the_numbers_of_the_frames(tmp_path: Path) -> None:
    runner = Toy(classes=3)
    source = write_video(tmp_path / "clip.avi", draw_frames(6), fourcc="MJPG")
    options = VideoOptions(overlay=False, mask_video="png")
    segment_video(runner, source, tmp_path / "out", options)
    files = sorted((tmp_path / "out" / "clip.mask").iterdir())
    assert [file.name for file in files] == [f"{index:06d}.png" for index in range(6)]
    for file, frame in zip(files, read_video(source), strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(file)), expected_mask(frame, runner.card))
    with pytest.raises(InputError, match=r"clip\.mask: a folder that is there already is not replaced"):
        segment_video(runner, source, tmp_path / "out", options)


def test_a_video_with_rotation_metadata_is_segmented_upright(tmp_path: Path) -> None:
    """The display matrix of the track is turned by a quarter, as phones do it (ISO/IEC 14496-12, 8.3.2)."""
    source = write_video(tmp_path / "clip.mp4", draw_frames(5))
    content = bytearray(source.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 4 + 20 + 8 + 8  # version and flags, times and ids, reserved, layer to volume
    turned = [0, 1 << 16, 0, -(1 << 16), 0, 0, 64 << 16, 0, 1 << 30]
    content[matrix : matrix + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in turned)
    unturned = read_video(source)
    source.write_bytes(content)
    runner = Toy()
    report = segment_video(runner, source, tmp_path / "out", BOTH)
    assert (report.width, report.height) == (64, 96)
    for frame, mask in zip(unturned, read_video(tmp_path / "out" / "clip.mask.mkv"), strict=True):
        upright = np.ascontiguousarray(np.rot90(frame, -1))
        np.testing.assert_array_equal(mask[..., 0], expected_mask(upright, runner.card) * 255)


def test_frames_that_change_their_size_are_written_at_the_first_size(tmp_path: Path) -> None:
    frames = [*draw_frames(3), *draw_frames(4, width=64, height=48)]
    report = segment_video(Toy(), recorded(Camera(frames=frames, fps=10)), tmp_path, BOTH)
    assert any(
        note.startswith("4 frames of another size were written at the first one's, 96x64") for note in report.notes
    )
    masks = read_video(tmp_path / "recording.mask.mkv")
    assert [mask.shape for mask in masks] == [(64, 96, 3)] * 7


def test_a_rate_that_varies_is_stated_and_is_no_damage(tmp_path: Path) -> None:
    camera = Camera(frames=draw_frames(20), fps=25)
    camera.times_ms = [0.0]
    for index in range(19):
        camera.times_ms.append(camera.times_ms[-1] + (20 if index % 2 else 60))
    report = segment_video(Toy(), recorded(camera), tmp_path, BOTH)
    assert "the frame rate varies (20 to 60 ms per frame)" in report.notes[0]
    assert (report.problem, report.frames_written) == ("", 20)


def test_a_report_adds_up(tmp_path: Path) -> None:
    report = segment_video(Toy(seconds=0.002), write_video(tmp_path / "a.mp4", draw_frames(20)), tmp_path, BOTH)
    assert report.latency_ms.p50_ms <= report.latency_ms.p90_ms <= report.latency_ms.p99_ms
    assert set(report.stages) == {"decode", "resize", "engine", "paint", "encode"}
    assert all(stage.total_s <= report.seconds for stage in report.stages.values())
    assert report.fps == pytest.approx(report.frames_segmented / report.seconds, rel=0.05)
    assert report.stages["engine"].p50_ms >= 2
    assert report.notes == []


def test_grey_images_in_a_sequence_by_glob_are_read_in_their_order(tmp_path: Path) -> None:
    for name, value in (("b.png", 200), ("a.png", 20), ("c.png", 250)):
        Image.fromarray(np.full((32, 48), value, dtype=np.uint8)).save(tmp_path / name)
    report = segment_video(Toy(), str(tmp_path / "*.png"), tmp_path / "out", VideoOptions(mask_video="ffv1", fps=5))
    (path,) = (Path(output.path) for output in report.outputs if output.kind == "mask")
    assert [int(mask.max()) for mask in read_video(path)] == [0, 255, 255]
    assert fps_of(path) == pytest.approx(5)


def test_written_frames_follow_each_other_evenly(tmp_path: Path) -> None:
    """Frames of the written file follow each other at its rate."""
    source = write_video(tmp_path / "clip.mp4", draw_frames(10), 20)
    segment_video(Toy(), source, tmp_path, VideoOptions())
    capture = cv2.VideoCapture(str(tmp_path / "clip.overlay.mp4"))
    times_ms = []
    while capture.grab():
        times_ms.append(capture.get(cv2.CAP_PROP_POS_MSEC))
    assert all(later - earlier == pytest.approx(50, abs=0.1) for earlier, later in pairwise(times_ms))
