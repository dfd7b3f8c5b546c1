"""From what a user names to a source of frames."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from segdino_deploy.errors import InputError
from segdino_deploy.images import IMAGE_SUFFIXES
from segdino_deploy.video.capture import Capture, ImageSequence, open_capture

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".ogv"}
    | {".3gp", ".mjpeg", ".y4m"}
)
CAMERA = re.compile(r"camera:(\d+)")
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
LIVE_SCHEMES = frozenset({"rtsp", "rtsps", "rtp", "rtmp", "rtmps", "udp", "tcp", "srt", "mms"})
FILE_SCHEMES = frozenset({"http", "https"})  # live only where the answer has no length
NUMBER = re.compile(r"%0?\d*d")


@dataclass(frozen=True)
class VideoSource:
    """Frames with a name. Make one directly for a camera that OpenCV does not open itself."""

    name: str  # as it is shown: without passwords
    stem: str  # what the names of its results begin with
    open: Callable[[], Capture]
    is_live: bool | None = None  # None: live where it does not know how many frames it has
    path: Path | None = None  # of a file
    images: tuple[Path, ...] = ()  # of an image sequence


def parse_source(text: str | Path) -> VideoSource | None:
    """A video file by its suffix, `camera:0`, an address, an image sequence (`frames/%04d.png`, `frames/*.png`); None
    for what is neither: images and folders of images, here or in an object store.

    Raises InputError: a video file that is not there or must not be read, a sequence without images or of videos, an
    unnamed camera.
    """
    text = str(text)
    if match := CAMERA.fullmatch(text):
        return VideoSource(text, f"camera-{match[1]}", partial(open_capture, int(match[1])), is_live=True)
    if text.startswith("camera:"):
        raise InputError(f"{text}: cameras are named by their number, such as camera:0")
    if ADDRESS.match(text):
        return _address(text)
    path = Path(text)
    if not path.exists() and NUMBER.search(path.name):
        return _sequence(text, _numbered(path))
    if not path.exists() and any(sign in path.name for sign in "*?["):
        return _sequence(text, sorted(file for file in path.parent.glob(path.name) if file.is_file()))
    if path.suffix.lower() not in VIDEO_SUFFIXES or path.is_dir():
        return None
    return _file(path)


def _file(path: Path) -> VideoSource:
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: no permission to read it")
    if path.stat().st_size == 0 and path.is_file():
        raise InputError(f"{path}: an empty file")
    # absolute: FFmpeg would take what stands before a colon for a protocol
    return VideoSource(str(path), path.stem, partial(open_capture, str(path.absolute())), is_live=False, path=path)


def _address(text: str) -> VideoSource | None:
    parts = urlsplit(text)
    is_image = PurePosixPath(parts.path).suffix.lower() in IMAGE_SUFFIXES
    if parts.scheme.lower() not in LIVE_SCHEMES | FILE_SCHEMES or is_image:
        return None
    host = parts.netloc.rpartition("@")[2]
    name = f"{parts.scheme}://{host}{parts.path}"  # neither password nor query, which may hold a token
    stem = PurePosixPath(parts.path).stem or host
    is_live = True if parts.scheme.lower() in LIVE_SCHEMES else None
    return VideoSource(name, _plain(stem) or "stream", partial(open_capture, text), is_live)


def _sequence(text: str, images: list[Path]) -> VideoSource:
    if not images:
        raise InputError(f"{text}: no image has such a name")
    video = next((image for image in images if image.suffix.lower() in VIDEO_SUFFIXES), None)
    if video is not None:
        raise InputError(f"{text}: {video} is a video; name videos one by one, or the pattern without quotes")
    without_signs = re.sub(r"%0?\d*d|\[[^\]]*\]|[*?]", "", Path(text).stem).strip("._- ")
    stem = _plain(without_signs) or images[0].absolute().parent.name or "sequence"
    return VideoSource(text, stem, partial(ImageSequence, images), is_live=False, images=tuple(images))


def _numbered(pattern: Path) -> list[Path]:
    """The images that a printf pattern names, by number, whatever number they begin with.

    Raises InputError where one is missing in between, which would shift all later frames.
    """
    signs: list[str] = NUMBER.findall(pattern.name)
    if len(signs) != 1 or not pattern.parent.is_dir():
        raise InputError(f"{pattern}: a sequence is one folder and one number, such as frames/%04d.png")
    before, after = pattern.name.split(signs[0])  # other percent signs are part of the name

    def named(number: int) -> str:
        return before + signs[0] % number + after

    shape = re.compile(rf"{re.escape(before)}(\d+){re.escape(after)}")
    found = {
        int(match[1]): file
        for file in pattern.parent.iterdir()
        if (match := shape.fullmatch(file.name)) is not None and file.name == named(int(match[1]))
    }
    numbers = sorted(found)
    for number, following in pairwise(numbers):
        if following != number + 1:
            missing = pattern.with_name(named(number + 1))
            raise InputError(f"{missing}: missing in the sequence, which goes on with {found[following].name}")
    return [found[number] for number in numbers]


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")
