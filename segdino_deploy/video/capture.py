"""Where frames come from: OpenCV's capture, or anything with its methods."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.images import read_rgb

logger = logging.getLogger(__name__)


class Capture(Protocol):
    """The part of `cv2.VideoCapture` that is used, so that drivers of other cameras can stand in for it.

    All calls but the first few come from one thread, which also releases it.
    """

    def isOpened(self) -> bool: ...  # noqa: N802  (OpenCV's names)
    def grab(self) -> bool: ...
    def retrieve(self) -> tuple[bool, Any]: ...  # the grabbed frame, BGR uint8 [H, W, 3]
    def get(self, prop: int, /) -> float: ...
    def release(self) -> None: ...


def open_capture(place: str | int) -> Capture:
    """A path, an address, or the number of a camera."""
    import cv2

    quieten()
    capture = cv2.VideoCapture(place)
    if isinstance(place, int):
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # old frames are of no use
    else:
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # upright, as the player shows them
    return capture


def quieten() -> None:
    """Keeps OpenCV and FFmpeg from writing to stderr themselves, but for debugging: what fails is told in one line."""
    import cv2

    if not logger.isEnabledFor(logging.DEBUG):
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET; read when FFmpeg is first used
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class ImageSequence:
    """Images as the frames of a video: one after the other, each as `predict` reads it. BGR, as OpenCV has it.

    `retrieve` raises InputError for an image that cannot be read.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._next = 0

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def grab(self) -> bool:
        self._next += 1
        return self._next <= len(self._paths)

    def retrieve(self) -> tuple[bool, NDArray[np.uint8]]:
        return True, np.ascontiguousarray(read_rgb(self._paths[self._next - 1])[..., ::-1])

    def get(self, prop: int, /) -> float:
        import cv2

        return float(len(self._paths)) if prop == cv2.CAP_PROP_FRAME_COUNT else 0.0

    def release(self) -> None:
        pass
