"""Videos that are drawn here, runners whose answer is plain, and captures that stand in for cameras."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from segdino_deploy.engines.run import Runner
from segdino_deploy.evidence import mask_from_logits
from segdino_deploy.images import resize_mask, resize_rgb
from segdino_deploy.manifest import BatchRange, ModelCard
from segdino_deploy.video import VideoSource
from tests.conftest import IMAGENET_MEAN, IMAGENET_STD, read_golden
from tests.engines.run.model import make_card

UInt8 = NDArray[np.uint8]


def draw_frame(index: int, width: int = 96, height: int = 64) -> UInt8:
    """BGR: a smooth ground, and a bright disc on a circle, which every codec can show."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    ground = np.stack([60 + 60 * x / width, 40 + 50 * y / height, 50 + 30 * (x + y) / (width + height)], axis=-1)
    angle = index / 6
    centre = (width / 2 + width / 4 * np.cos(angle), height / 2 + height / 4 * np.sin(angle))
    disc = np.clip(height / 5 - np.hypot(x - centre[0], y - centre[1]), 0, 4)[..., None] / 4
    colour = np.array([200, 120 + 60 * np.sin(index / 9), 230], dtype=np.float32)
    drawn: UInt8 = np.rint(ground * (1 - disc) + colour * disc).astype(np.uint8)
    return drawn


def draw_frames(count: int, width: int = 96, height: int = 64) -> list[UInt8]:
    return [draw_frame(index, width, height) for index in range(count)]


def write_video(path: Path, frames: Sequence[UInt8], fps: float = 25.0, fourcc: str = "mp4v") -> Path:
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*fourcc), fps, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def read_video(path: Path) -> list[UInt8]:
    """All frames, BGR, by OpenCV."""
    capture = cv2.VideoCapture(str(path))
    frames: list[UInt8] = []
    while True:
        is_there, frame = capture.read()
        if not is_there:
            return frames
        frames.append(np.asarray(frame, dtype=np.uint8))


def make_old(folder: Path) -> list[Path]:
    """As if nothing hidden in `folder` had been changed for an hour; returns the hidden ones."""
    hidden = [path for path in folder.iterdir() if path.name.startswith(".")]
    for path in hidden:
        for changed in (*path.rglob("*"), path):
            os.utime(changed, (time.time() - 3600,) * 2)
    return hidden


def fps_of(path: Path) -> float:
    return cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS)


class Toy(Runner):
    """The classes are the ranges of the red value: below 128 is background; of several classes the brighter ones share
    what is above. Sleeps `seconds` per call, and counts its batches.
    """

    backend, precision, device = "toy", "fp32", "CPU"

    def __init__(
        self, classes: int = 1, seconds: float = 0.0, batch: int = 1, heads: Sequence[str] = ("",), fails_at: int = -1
    ) -> None:
        card = make_card(size=(32, 48), classes=classes)
        named = [card.heads[0].model_copy(update={"name": name, "outputs": ["mask"]}) for name in heads]
        super().__init__(card.model_copy(update={"heads": named, "batch": BatchRange(min=1, opt=batch, max=batch)}))
        self.batches: list[int] = []
        self.has_begun = threading.Event()
        self._seconds, self._fails_at = seconds, fails_at

    def _run(self, image_nhwc: UInt8) -> dict[str, NDArray[np.generic]]:
        if len(self.batches) == self._fails_at:
            raise RuntimeError("out of order")
        self.batches.append(len(image_nhwc))
        self.has_begun.set()
        time.sleep(self._seconds)
        names = [f"{head.name}.mask" if head.name else "mask" for head in self.card.heads]
        return {name: toy_mask(image_nhwc, self.card.heads[0].num_classes) for name in names}


def toy_mask(image_nhwc: UInt8, classes: int) -> UInt8:
    """uint8 `[N, H, W, 3]` to `[N, H, W]`."""
    levels = max(classes, 2) - 1  # of the foreground
    red = image_nhwc[..., 0].astype(np.int64)
    return np.where(red < 128, 0, 1 + (red - 128) * levels // 128).astype(np.uint8)


def expected_mask(bgr: UInt8, card: ModelCard) -> UInt8:
    """Of a frame by `Toy`, `[H, W]`, class by class as the manuals say: RGB, resized, segmented, resized back."""
    rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    sized = resize_rgb(np.asarray(rgb, dtype=np.uint8), card.input_size, card.resize_filter)
    return resize_mask(toy_mask(sized[None], card.heads[0].num_classes)[0], (bgr.shape[0], bgr.shape[1]))


class Upstream(Runner):
    """A golden checkpoint of one class in PyTorch, at its golden size."""

    backend, precision, device = "torch", "fp32", "CPU"

    def __init__(self, name: str) -> None:
        from segdino_deploy import load_segdino

        golden = read_golden(name)
        super().__init__(make_card(size=golden.input_hw, classes=golden.num_classes))
        self._models = {"": load_segdino(golden.checkpoint)}

    def _run(self, image_nhwc: UInt8) -> dict[str, NDArray[np.generic]]:
        import torch

        from segdino_deploy.model.reference import reference_logits

        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # one frame of a tiny model: threads would only wait for each other
        try:
            logits = reference_logits(self._models, image_nhwc, IMAGENET_MEAN, IMAGENET_STD)[""]
        finally:
            torch.set_num_threads(threads)
        return {"mask": mask_from_logits(logits, 0.5), "logits": logits}


class Camera:
    """As `cv2.VideoCapture`: `seconds` between frames, endless or `count` of them; never two calls at a time."""

    def __init__(
        self, seconds: float = 0.0, count: int | None = None, fps: float = 0.0, frames: Sequence[UInt8] | None = None
    ) -> None:
        self.seconds, self.fps = seconds, fps
        self.count = len(frames) if frames is not None else count
        self.frames = frames
        self.times_ms: list[float] = []
        self.grabbed = 0
        self.is_released = False
        self.before_grab: Callable[[int], object] = lambda _: None  # called with the frame's number
        self._lock = threading.Lock()

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def grab(self) -> bool:
        assert self._lock.acquire(blocking=False), "two threads at once"
        try:
            assert not self.is_released
            if self.count is not None and self.grabbed >= self.count:
                return False
            self.before_grab(self.grabbed)
            time.sleep(self.seconds)
            self.grabbed += 1
            return True
        finally:
            self._lock.release()

    def retrieve(self) -> tuple[bool, UInt8]:
        index = self.grabbed - 1
        return True, self.frames[index] if self.frames is not None else draw_frame(index)

    def get(self, prop: int, /) -> float:
        if prop == cv2.CAP_PROP_FPS:
            return self.fps
        if prop == cv2.CAP_PROP_FRAME_COUNT:
            return float(len(self.frames)) if self.frames is not None else -1.0
        if prop == cv2.CAP_PROP_POS_MSEC and self.times_ms:
            return self.times_ms[self.grabbed - 1]
        return 0.0

    def release(self) -> None:
        self.is_released = True


def live(camera: Camera) -> VideoSource:
    return VideoSource("the camera", "camera", lambda: camera, is_live=True)


def recorded(camera: Camera) -> VideoSource:
    return VideoSource("the recorder", "recording", lambda: camera, is_live=False)
