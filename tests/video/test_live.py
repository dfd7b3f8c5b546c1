"""Live sources: the newest frame wins, and nothing is dropped in silence. The camera is a stand-in."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from segdino_deploy.errors import SegdinoDeployError
from segdino_deploy.video import VideoOptions, segment_video
from segdino_deploy.video.sink import VideoSink
from tests.video.models import Camera, Toy, UInt8, draw_frame, expected_mask, fps_of, live, read_video

MASKS = VideoOptions(mask_video="ffv1")


def steady(runner: Toy, count: int) -> Camera:
    """100 frames per second, from when the engine has the first one."""
    camera = Camera(seconds=0.01, count=count, fps=100)
    camera.before_grab = lambda number: number == 0 or runner.has_begun.wait(30)
    return camera


def test_a_slow_engine_drops_frames_counts_them_and_keeps_the_time(tmp_path: Path) -> None:
    runner = Toy(seconds=0.05)
    report = segment_video(runner, live(steady(runner, count=60)), tmp_path, MASKS)
    assert report.is_live
    assert report.frames_read == 60
    assert report.frames_dropped > 0
    assert (report.frames_dropped + report.frames_segmented, report.frames_abandoned) == (60, 0)
    assert report.frames_written == report.frames_segmented + report.frames_repeated == 60
    assert runner.batches == [1] * report.frames_segmented
    masks = read_video(tmp_path / "camera.mask.mkv")
    assert len(masks) == report.frames_written
    assert fps_of(tmp_path / "camera.mask.mkv") == pytest.approx(100)


class Paced(Toy):
    """While a frame is in the engine, exactly the next three arrive, and what was through before is written."""

    LAST = 14  # calls, then the run ends

    def __init__(self, camera: Camera) -> None:
        super().__init__()
        self.has_written = threading.Semaphore(0)  # one for each frame in the video of masks
        self._changed, self._arrived, self._calls = threading.Condition(), 0, 0
        camera.before_grab = self._arrive

    def _run(self, image_nhwc: UInt8) -> dict[str, NDArray[np.generic]]:
        with self._changed:
            self._calls += 1
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._arrived > 3 * self._calls, 30)
        for _ in range(
            (0, 1, 3)[min(self._calls - 1, 2)]
        ):  # the first frame stands alone, later ones with two repeated
            assert self.has_written.acquire(timeout=30)
        return super()._run(image_nhwc)

    def _arrive(self, number: int) -> None:
        """In the decoder's thread: all frames before `number` have been handed on."""
        with self._changed:
            self._arrived = number
            self._changed.notify_all()
            if number % 3 == 1:  # the frame before is for the engine: a newer one would take its place
                assert self._changed.wait_for(lambda: self._calls > min(number // 3, self.LAST - 1), 30)


def test_masks_of_a_live_source_stand_where_their_frames_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of three frames are dropped: in their places stands the result of the one before."""
    camera = Camera(seconds=0.001, fps=100)
    runner = Paced(camera)
    write = VideoSink.write

    def counted(sink: VideoSink, frame: UInt8) -> None:
        write(sink, frame)
        if frame.ndim == 2:
            runner.has_written.release()

    monkeypatch.setattr(VideoSink, "write", counted)
    options = VideoOptions(mask_video="ffv1", max_frames=Paced.LAST)
    report = segment_video(runner, live(camera), tmp_path, options)
    assert (report.frames_segmented, report.frames_repeated) == (14, 26)
    masks = read_video(tmp_path / "camera.mask.mkv")
    assert len(masks) == 40
    for place, mask in enumerate(masks):
        expected = expected_mask(draw_frame(place - place % 3), runner.card) * 255
        np.testing.assert_array_equal(mask[..., 0], expected)


def test_a_fast_engine_drops_nothing(tmp_path: Path) -> None:
    runner, camera, through = Toy(batch=4), Camera(count=15, fps=33), threading.Semaphore(1)
    camera.before_grab = lambda _: through.acquire(timeout=30)
    report = segment_video(runner, live(camera), tmp_path, MASKS, lambda *_: through.release())
    assert (report.frames_segmented, report.frames_dropped, report.frames_repeated) == (15, 0, 0)
    assert runner.batches == [1] * 15  # no frame waits for the next
    masks = read_video(tmp_path / "camera.mask.mkv")
    for index, mask in enumerate(masks):
        np.testing.assert_array_equal(mask[..., 0], expected_mask(draw_frame(index), runner.card) * 255)
    assert "the stream ended" in report.notes


def test_a_rate_that_is_not_what_the_camera_says_is_stated(tmp_path: Path) -> None:
    report = segment_video(Toy(), live(Camera(seconds=0.02, count=25, fps=10)), tmp_path, MASKS)
    assert any("frames per second came, not 10" in note and "--fps" in note for note in report.notes)
    unknown = segment_video(Toy(), live(Camera(seconds=0.001, count=3)), tmp_path / "b", MASKS)
    assert "the source names no frame rate: 25 per second are taken" in unknown.notes[0]


def test_stop_ends_an_endless_stream(tmp_path: Path) -> None:
    stop = threading.Event()
    camera = Camera(seconds=0.005, fps=200)

    def on_progress(done: int, total: int) -> None:
        assert total == 0  # not known
        if done == 5:
            stop.set()

    report = segment_video(Toy(), live(camera), tmp_path, MASKS, on_progress, stop=stop)
    assert (report.interrupted, report.frames_segmented) == (True, 5)
    assert len(read_video(tmp_path / "camera.overlay.mp4")) == report.frames_written
    assert camera.is_released


def test_stop_ends_a_stream_that_has_fallen_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is set while the run waits for a frame that never comes."""
    monkeypatch.setattr("segdino_deploy.video.pipeline.RELEASE_SECONDS", 0.1)
    stop, test_is_over, through = threading.Event(), threading.Event(), threading.Semaphore(1)
    camera = Camera(fps=200)

    def before_grab(number: int) -> None:
        assert through.acquire(timeout=30)
        if number == 5:
            time.sleep(0.2)  # all are through, and the run waits
            stop.set()
            assert test_is_over.wait(30)

    camera.before_grab = before_grab
    report = segment_video(Toy(), live(camera), tmp_path, MASKS, lambda *_: through.release(), stop=stop)
    assert (report.interrupted, report.frames_segmented, report.problem) == (True, 5, "")
    assert len(read_video(tmp_path / "camera.overlay.mp4")) == report.frames_written
    assert not camera.is_released  # not under the decoder, which still waits
    test_is_over.set()
    join_decoders()
    assert camera.is_released


@pytest.mark.own_process
def test_ctrl_c_while_a_silent_decoder_is_waited_for_takes_no_report_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one, when the video is complete already."""
    monkeypatch.setattr("segdino_deploy.video.pipeline.RELEASE_SECONDS", 30.0)
    test_is_over, through, main = threading.Event(), threading.Semaphore(1), threading.main_thread().ident
    assert main is not None
    camera = Camera(fps=200)

    def before_grab(number: int) -> None:
        assert through.acquire(timeout=30)
        if number == 5:
            signal.pthread_kill(main, signal.SIGINT)
            wait_for(tmp_path / "camera.overlay.mp4")
            time.sleep(0.2)  # the decoder is waited for
            signal.pthread_kill(main, signal.SIGINT)
            assert test_is_over.wait(30)

    camera.before_grab = before_grab
    try:
        report = segment_video(Toy(), live(camera), tmp_path, MASKS, lambda *_: through.release())
    except KeyboardInterrupt:
        pytest.fail("the report is lost")
    finally:
        test_is_over.set()
        join_decoders()
    assert (report.interrupted, report.frames_segmented) == (True, 5)
    assert len(read_video(tmp_path / "camera.overlay.mp4")) == report.frames_written


def wait_for(path: Path) -> None:
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} did not come")


def join_decoders() -> None:
    for thread in threading.enumerate():
        if thread.name == "segdino-decode":
            thread.join(30)


def test_stop_before_the_first_frame_is_an_error_of_ours_and_leaves_nothing(tmp_path: Path) -> None:
    """And no KeyboardInterrupt, which would end the program that called."""
    stop = threading.Event()
    stop.set()
    with pytest.raises(SegdinoDeployError, match="the camera: stopped before a frame was through; nothing is written"):
        segment_video(Toy(), live(Camera(seconds=0.005, fps=200)), tmp_path, MASKS, stop=stop)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_before_the_first_frame_stays_one_and_leaves_nothing(tmp_path: Path) -> None:
    class Interrupted(Toy):
        def _run(self, image_nhwc: UInt8) -> dict[str, NDArray[np.generic]]:
            del image_nhwc
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment_video(Interrupted(), live(Camera(seconds=0.005, fps=200)), tmp_path, MASKS)
    assert list(tmp_path.iterdir()) == []


def test_so_many_frames_of_an_endless_stream(tmp_path: Path) -> None:
    report = segment_video(
        Toy(), live(Camera(seconds=0.005, fps=200)), tmp_path, VideoOptions(max_frames=7, mask_video="ffv1")
    )
    assert (report.frames_segmented, report.interrupted, report.problem) == (7, False, "")


def test_a_driver_that_fails_on_the_way_keeps_what_there_is(tmp_path: Path) -> None:
    class Unplugged(Camera):
        def retrieve(self) -> tuple[bool, np.ndarray]:
            if self.grabbed == 6:
                raise OSError("unplugged")
            return super().retrieve()

    report = segment_video(Toy(), live(Unplugged(seconds=0.02, fps=50)), tmp_path, MASKS)
    assert report.problem.endswith("frames could be read: unplugged")
    assert len(read_video(tmp_path / "camera.mask.mkv")) == report.frames_written > 0
