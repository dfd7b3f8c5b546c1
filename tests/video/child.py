"""A run in a process of its own, to be ended from outside: source, folder, seconds per frame, largest file in bytes,
how masks are written, and whether completing a video waits for a line on stdin.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

from segdino_deploy.cli.video_options import predict_videos
from segdino_deploy.errors import SegdinoDeployError
from segdino_deploy.video import VideoOptions, parse_source
from segdino_deploy.video.sink import VideoSink
from tests.video.models import Camera, Toy, live


def wait_when_completing() -> None:
    """Says "completing", then waits for a line."""
    finish = VideoSink.finish

    def asked(sink: VideoSink) -> None:
        sys.stderr.write("completing\n")
        sys.stderr.flush()
        sys.stdin.readline()
        time.sleep(0.1)  # the signal before that line gets to the main thread
        finish(sink)

    VideoSink.finish = asked  # type: ignore[method-assign]


def main(source: str, output: str, seconds: str, largest_bytes: str, mask_video: str, completing: str) -> int:
    if int(largest_bytes):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest_bytes), int(largest_bytes)))
    if completing == "waits":
        wait_when_completing()
    video = live(Camera(seconds=0.005, fps=200.0)) if source == "live" else parse_source(source)
    assert video is not None
    options = VideoOptions(mask_video="png" if mask_video == "png" else "ffv1")
    try:
        predict_videos(Toy(seconds=float(seconds)), [video], Path(output), options, as_json=True)
    except SegdinoDeployError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
