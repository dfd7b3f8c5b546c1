"""Real streams over HTTP, from a server in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import pytest

from segdino_deploy.errors import InputError
from segdino_deploy.video import VideoOptions, segment_video
from tests.video.models import Toy, draw_frames, read_video, write_video

FRAMES = 40


class Handler(BaseHTTPRequestHandler):
    """`/clip.mkv`: a file. `/camera`: JPEG images one after the other, as network cameras send them (RFC 2046)."""

    clip = b""

    def do_GET(self) -> None:
        if self.path.startswith("/clip.mkv"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.clip)))
            self.end_headers()
            self.wfile.write(self.clip)
        elif self.path == "/camera":
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for frame in draw_frames(FRAMES):
                image = cv2.imencode(".jpg", frame)[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(image)}\r\n\r\n"
                self.wfile.write(head.encode() + image + b"\r\n")
                time.sleep(0.02)
        else:
            self.send_error(404)

    def log_message(self, format: str, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    Handler.clip = write_video(tmp_path / "served.mkv", draw_frames(FRAMES), fourcc="FFV1").read_bytes()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_file_behind_an_address_loses_no_frame(address: str, tmp_path: Path) -> None:
    report = segment_video(Toy(), f"{address}/clip.mkv?key=secret", tmp_path / "out", VideoOptions(mask_video="ffv1"))
    assert (report.is_live, report.frames_segmented, report.frames_dropped) == (False, FRAMES, 0)
    assert report.source == f"{address}/clip.mkv"
    assert len(read_video(tmp_path / "out" / "clip.mask.mkv")) == FRAMES


def test_a_network_camera_is_live_and_every_frame_is_accounted_for(address: str, tmp_path: Path) -> None:
    report = segment_video(Toy(seconds=0.06), f"{address}/camera", tmp_path / "out", VideoOptions(fps=50))
    assert report.is_live and report.frames_promised is None
    assert report.frames_dropped > 0
    assert report.frames_read == report.frames_segmented + report.frames_dropped + report.frames_abandoned
    assert report.frames_read >= FRAMES - 1  # the demuxer may hold the last one back
    assert len(read_video(tmp_path / "out" / "camera.overlay.mp4")) == report.frames_written


def test_an_address_without_a_video_is_one_line(address: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"/nothing: cannot be opened: no answer, no permission, or no video there"):
        segment_video(Toy(), f"{address}/nothing?key=secret", tmp_path / "out")
