"""Where frames go: a video file or a folder of PNG files, under a temporary name until all is well."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.atomic import disk_errors, fsync_directory
from segdino_deploy.errors import InputError, MissingComponent, SegdinoDeployError
from segdino_deploy.folders.image import encode_png
from segdino_deploy.video.capture import quieten
from segdino_deploy.video.frames import to_even
from segdino_deploy.video.publish import move_file, move_folder
from segdino_deploy.video.stderr import without_opencv_lines
from segdino_deploy.video.temporary import TemporaryFolder

if TYPE_CHECKING:
    import cv2

UInt8 = NDArray[np.uint8]
# Code in the container, suffix, whether pixels come back exactly as they were written. FFV1 of grey frames, and of
# colour as OpenCV writes it (BGR), is exact; the others are made for the eye.
CODECS = {
    "mp4v": ("mp4v", ".mp4", False),
    "vp9": ("VP90", ".webm", False),
    "mjpeg": ("MJPG", ".avi", False),
    "ffv1": ("FFV1", ".mkv", True),
}
COMMON_FPS = 25.0  # every codec holds it
PNG_DIGITS = 6
# Completing takes what the encoder has held back (of Matroska up to 5 MB), and the index. Between two looks the raw
# frames of one moment are written, and codecs that do not lose anything make little less of noise.
RESERVE_BYTES = 32 << 20
RESERVE_FRAMES = 4
INDEX_BYTES = 32  # of each frame: AVI's two indexes take 24, those of the others less


class Sink(ABC):
    """`write` every frame, `finish`, `publish`; and `discard`, which removes what is not published.

    Raises InputError (no permission), SegdinoDeployError (no space).
    """

    is_folder = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written = 0
        self._folder = TemporaryFolder(path)
        self._temporary = self._folder.path / path.name

    @abstractmethod
    def write(self, frame: UInt8) -> None:
        """uint8 `[H, W]` or BGR `[H, W, 3]`."""

    @abstractmethod
    def finish(self) -> None:
        """Completes it under its temporary name, forces it to disk, and proves that it can be read again."""

    @abstractmethod
    def publish(self, path: Path, may_replace: bool) -> bool:
        """Gives it a name; False where that is taken."""

    def withdraw(self, path: Path) -> None:
        """Takes the name back, of a `publish` that has replaced nothing."""
        path.rename(self._temporary)

    def discard(self) -> None:
        """Removes what is not published."""
        self._folder.remove()


class VideoSink(Sink):
    """A video through OpenCV, whose writer tells nothing of a full disk or a codec that fails: it is read again.

    Raises InputError (no permission, a rate that the codec cannot hold), MissingComponent (no such codec in this
    OpenCV), SegdinoDeployError (no space).
    """

    def __init__(self, path: Path, codec: str, fps: float, size_hw: tuple[int, int], is_color: bool) -> None:
        super().__init__(path)
        self._is_exact = CODECS[codec][2]
        self._first: UInt8 | None = None
        self._last: UInt8 | None = None
        quieten()
        try:
            self._writer = self._open(codec, fps, size_hw, is_color)
            if self._writer.isOpened():
                return
            if self._open(codec, COMMON_FPS, size_hw, is_color).isOpened():
                others = " or ".join(", ".join(other for other in CODECS if other != codec).rsplit(", ", 1))
                raise InputError(
                    f"{path}: {codec} cannot hold {fps:g} frames per second; --overlay-codec {others}, or another --fps"
                )
            raise MissingComponent(f"{path}: this OpenCV cannot write {codec}; pip install opencv-python-headless")
        except BaseException:
            self._folder.remove()
            raise

    def _open(self, codec: str, fps: float, size_hw: tuple[int, int], is_color: bool) -> cv2.VideoWriter:
        import cv2

        height, width = (length + length % 2 for length in size_hw)
        code = cv2.VideoWriter.fourcc(*CODECS[codec][0])
        with without_opencv_lines() if codec == "vp9" else nullcontext():  # whose tag it calls unsupported, and writes
            return cv2.VideoWriter(str(self._temporary.absolute()), cv2.CAP_ANY, code, fps, (width, height), is_color)

    def write(self, frame: UInt8) -> None:
        self._last = to_even(frame)
        if self._first is None:
            self._first = self._last
        self._writer.write(self._last)
        self.written += 1

    def finish(self) -> None:
        self._writer.release()
        with disk_errors(self.path):
            _force_to_disk(self._temporary)
        fault = self._find_fault()
        if fault:
            raise SegdinoDeployError(
                f"{self.path}: what was written {fault}; is the disk full, or a limit on the size of files reached?"
            )

    def publish(self, path: Path, may_replace: bool) -> bool:
        with disk_errors(path):
            if not may_replace or path.is_dir():
                return move_file(self._temporary, path)
            self._temporary.replace(path)
            return True

    def discard(self) -> None:
        self._writer.release()
        super().discard()

    def _find_fault(self) -> str:
        """Empty where the file has all frames, as far as its index and its first and last frame tell."""
        import cv2

        capture = cv2.VideoCapture(str(self._temporary.absolute()))
        try:
            if not capture.isOpened():
                return "cannot be opened"
            found = round(capture.get(cv2.CAP_PROP_FRAME_COUNT))
            # a container that lists no frames has their number from its duration and its rounded rate
            if abs(found - self.written) > self.written // 100_000:
                return f"has {found} of {self.written} frames"
            # by position: the only frame is both, and a capture cannot go back to it
            for position, expected in {0: self._first, self.written - 1: self._last}.items():
                if position:
                    capture.set(cv2.CAP_PROP_POS_FRAMES, position)
                is_there, frame = capture.read()
                if not is_there:
                    return f"ends before frame {position + 1}"
                if self._is_exact and expected is not None and not _equal(frame, expected):
                    return f"differs in frame {position + 1}"
            return ""
        finally:
            capture.release()


class PngSink(Sink):
    """A folder with `000000.png`, `000001.png` and so on."""

    is_folder = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with disk_errors(path):
            self._temporary.mkdir()

    def write(self, frame: UInt8) -> None:
        with disk_errors(self.path):
            (self._temporary / f"{self.written:0{PNG_DIGITS}d}.png").write_bytes(encode_png(frame))
        self.written += 1

    def finish(self) -> None:
        with disk_errors(self.path):
            for file in self._temporary.iterdir():
                _force_to_disk(file)
            fsync_directory(self._temporary)

    def publish(self, path: Path, may_replace: bool) -> bool:
        """Never replaces anything."""
        del may_replace
        with disk_errors(path):
            return move_folder(self._temporary, path)


def find_shortage(folder: Path, frame_bytes: int, frames_written: int, outputs: int) -> str:
    """Why writing must end now, while a video can be completed; empty where there is room.

    `frame_bytes`: of one frame of all `outputs` together, raw.
    """
    reserve = RESERVE_BYTES + RESERVE_FRAMES * frame_bytes + INDEX_BYTES * frames_written * outputs
    if shutil.disk_usage(folder).free >= reserve:
        return ""
    return f"less than {-(-reserve >> 20)} MiB are free in {folder}: ended while the video could be completed"


def _force_to_disk(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _equal(frame: NDArray[Any], expected: UInt8) -> bool:
    """`frame`: BGR `[H, W, 3]`, as everything is read; `expected`: that, or grey `[H, W]`."""
    return np.array_equal(frame[..., 0] if expected.ndim == 2 else frame, expected)
