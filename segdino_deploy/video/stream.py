"""An opened source: its frames with their times and numbers, and what it promised."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.errors import InputError, one_line
from segdino_deploy.video.mp4 import SUFFIXES, shown_seconds
from segdino_deploy.video.options import MAX_FPS, VideoOptions
from segdino_deploy.video.source import VideoSource
from segdino_deploy.video.times import EXACT_COUNTS, FrameTimes

logger = logging.getLogger(__name__)

UInt8 = NDArray[np.uint8]
DEFAULT_FPS = 25.0
MAX_FRAMES = 10**9  # what a container claims beyond is a sign for "not known"


@dataclass(frozen=True)
class Frame:
    """One frame as it was decoded."""

    slot: int  # its place among the frames that are to be segmented, dropped ones counted
    bgr: UInt8  # [H, W, 3]
    read_ms: float  # decoding, with the skipped frames before it; of a live source waiting for it as well
    read_at: float  # `perf_counter` when it was there


class Stream:
    """Opens the source and reads its first frame. Raises InputError where that cannot be done.

    `frames` is for one thread, which also calls `release`; the counts are right when it has ended.
    """

    def __init__(self, source: VideoSource, options: VideoOptions) -> None:
        import cv2

        self.source, self._options = source, options
        self.notes: list[str] = []
        self.problem = ""
        self.frames_read = self.frames_skipped = 0
        self.ended = False  # the source had no more
        try:
            self._capture = source.open()
        except cv2.error as error:
            raise InputError(f"{source.name}: {one_line(error)}") from error
        try:
            if not self._capture.isOpened():
                raise InputError(f"{source.name}: {self._why_closed()}")
            listed = _count(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
            self.is_live = source.is_live if source.is_live is not None else listed is None
            said_fps = self._capture.get(cv2.CAP_PROP_FPS)
            self.fps = self._find_fps(said_fps)
            self._times = FrameTimes(said_fps if _is_rate(said_fps) else self.fps)
            self.promised, self._is_exact = self._find_promised(listed, said_fps)
            self.began = perf_counter()
            first = self._next(1)
            if first is None:
                promised = f" of {self.promised} promised" if self.promised else ""
                raise InputError(
                    f"{source.name}: no frame{promised} can be decoded; {self.problem or 'is it damaged?'}"
                )
            self._first = first
        except BaseException:
            self._capture.release()
            raise

    @property
    def size_hw(self) -> tuple[int, int]:
        """Of the first frame, upright."""
        return self._first.bgr.shape[0], self._first.bgr.shape[1]

    @property
    def expected(self) -> int:
        """Frames to segment, as far as can be told; 0: not known."""
        known = -(-self.promised // self._options.every) if self.promised and not self.is_live else 0
        limit = self._options.max_frames
        return min(known, limit) if known and limit else (limit or known)

    def frames(self) -> Iterator[Frame]:
        """Every `every`th frame, at most `max_frames` of a file, until the source has no more or fails."""
        every, limit = self._options.every, self._options.max_frames
        frame: Frame | None = self._first
        while frame is not None:
            yield frame
            if limit is not None and not self.is_live and frame.slot + 1 >= limit:
                return
            try:
                frame = self._next(every)
            except Exception as error:  # whatever a decoder or a camera's driver raises: what was read stays
                logger.debug("%s failed", self.source.name, exc_info=True)
                self._fail(one_line(error))
                return
        self.ended = True
        self._judge_end()

    def release(self) -> None:
        self._capture.release()

    def _next(self, advance: int) -> Frame | None:
        """The frame `advance` places on; those in between are passed over."""
        import cv2

        started = perf_counter()
        for left in reversed(range(advance)):
            if not self._capture.grab():
                return None
            if not self.is_live:
                self._times.add(self._capture.get(cv2.CAP_PROP_POS_MSEC))
            if left:
                self.frames_read += 1
                self.frames_skipped += 1
        is_there, bgr = self._capture.retrieve()
        if not is_there or bgr is None:
            return None
        read_at = perf_counter()
        slot = self.frames_read // self._options.every
        self.frames_read += 1
        return Frame(slot, _three_channels(bgr), (read_at - started) * 1e3, read_at)

    def _find_fps(self, said: float) -> float:
        if self._options.fps is not None:
            return self._options.fps
        if _is_rate(said):
            return said
        self.notes.append(f"the source names no frame rate: {DEFAULT_FPS:g} per second are taken; --fps names another")
        return DEFAULT_FPS

    def _find_promised(self, listed: int | None, said_fps: float) -> tuple[int | None, bool]:
        """How many frames the source has, and whether it has listed them: else it is from its duration."""
        path = self.source.path
        if listed is None or path is None:
            return listed, False
        shown_s = shown_seconds(path) if path.suffix.lower() in SUFFIXES and _is_rate(said_fps) else None
        if shown_s is not None and (shown := round(shown_s * said_fps)) < listed:
            return max(1, shown), False
        return listed, path.suffix.lower() in EXACT_COUNTS

    def _judge_end(self) -> None:
        """After the last frame: were these all?"""
        if self.is_live:
            self.notes.append("the stream ended")
            seconds = perf_counter() - self.began
            if self.frames_read > 2 * self.fps and seconds > 0:
                self._compare_rate(self.frames_read / seconds)
            return
        if self.source.images:
            return
        if self._times.is_variable:
            self.notes.append(
                f"the frame rate varies ({self._times.shortest_ms:.0f} to {self._times.longest_ms:.0f} ms per frame): "
                f"every frame is written once, at {self.fps / self._options.every:g} per second"
            )
        if self.promised is not None and self._times.is_incomplete(self.promised, self._is_exact):
            self._fail("it is cut short or damaged")

    def judge_rate(self, seconds: float) -> None:
        """Of a live source that was ended: is its rate what it says?"""
        if self.is_live and self.frames_read > 2 * self.fps:
            self._compare_rate(self.frames_read / seconds)

    def _compare_rate(self, measured: float) -> None:
        if abs(measured / self.fps - 1) > 0.1:
            self.notes.append(
                f"{measured:.1f} frames per second came, not {self.fps:g}: the written video plays at another speed; "
                f"--fps {measured:.3g} sets it right"
            )

    def _fail(self, reason: str) -> None:
        promised = f" of {self.promised} promised" if self.promised is not None else ""
        self.problem = f"{self.frames_read}{promised} frames could be read: {reason}"

    def _why_closed(self) -> str:
        if self.source.path is not None:
            return "not a video that can be read, or damaged (one that was cut short may have lost its index)"
        if self.source.is_live and self.source.name.startswith("camera:"):
            return "no such camera, no permission to use it, or another program has it"
        return "cannot be opened: no answer, no permission, or no video there"


def _is_rate(said: float) -> bool:
    return math.isfinite(said) and 0 < said <= MAX_FPS


def _count(said: float) -> int | None:
    return int(said) if math.isfinite(said) and 0 < said < MAX_FRAMES else None


def _three_channels(frame: NDArray[Any]) -> UInt8:
    """Grey frames `[H, W]` or `[H, W, 1]`, and those with alpha, to `[H, W, 3]`."""
    import cv2

    if frame.dtype != np.uint8:
        raise InputError(f"frames of {frame.dtype}: 8-bit ones are expected")
    if frame.ndim == 2 or frame.shape[2] == 1:
        return np.asarray(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR), dtype=np.uint8)
    return np.ascontiguousarray(frame[..., :3], dtype=np.uint8)
