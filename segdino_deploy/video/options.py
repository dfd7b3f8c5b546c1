"""What is read of a video, and what is written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from segdino_deploy.errors import InputError
from segdino_deploy.folders.options import batch_size_for
from segdino_deploy.manifest import ModelCard

OverlayCodec = Literal["mp4v", "vp9", "mjpeg", "ffv1"]
MaskVideo = Literal["ffv1", "png"]
OVERLAY_CODECS: tuple[OverlayCodec, ...] = get_args(OverlayCodec)
MASK_VIDEOS: tuple[MaskVideo, ...] = get_args(MaskVideo)


@dataclass(frozen=True)
class VideoOptions:
    """Raises InputError for what cannot be."""

    overlay: bool = True  # whether a video of overlays is written
    overlay_codec: OverlayCodec = "mp4v"
    # Masks frame by frame, exact: FFV1 in Matroska, or a folder of PNG files; None: not written
    mask_video: MaskVideo | None = None
    max_frames: int | None = None  # segmented, then the run ends; None: all
    every: int = 1  # of so many frames one is segmented and written
    fps: float | None = None  # of the source, where it names none or a wrong one; None: what the source says
    batch_size: int | None = None  # frames of a file in one call of the engine; None: what the model was exported for

    def __post_init__(self) -> None:
        if not self.overlay and self.mask_video is None:
            raise InputError("--no-overlay: nothing is left to write of a video; add --mask-video ffv1 or png")
        if self.max_frames is not None and self.max_frames < 1:
            raise InputError(f"--max-frames: {self.max_frames}; at least 1")
        if self.every < 1:
            raise InputError(f"--every: {self.every}; at least 1")
        if self.fps is not None and not (math.isfinite(self.fps) and 0 < self.fps <= MAX_FPS):
            raise InputError(f"--fps: {self.fps}; above 0 and at most {MAX_FPS}")

    def batch_for(self, card: ModelCard, is_live: bool) -> int:
        """Frames in one call of the engine: of a live source one, which never waits for the next.

        Raises InputError where the model takes no such batch.
        """
        if is_live:
            return 1
        return batch_size_for(card, self.batch_size)


MAX_FPS = 1000.0  # what containers and sources claim beyond is a time base, not a rate of frames


def parse_overlay_codec(text: str) -> OverlayCodec:
    """InputError for a name that is not known."""
    for known in OVERLAY_CODECS:
        if text == known:
            return known
    raise InputError(f"--overlay-codec: {text!r} is none of {', '.join(OVERLAY_CODECS)}")


def parse_mask_video(text: str) -> MaskVideo:
    """InputError for a name that is not known, and for codecs that would change class indices."""
    for known in MASK_VIDEOS:
        if text == known:
            return known
    if text in OVERLAY_CODECS:
        raise InputError(
            f"--mask-video: {text} does not keep pixels exactly, so that classes would change; ffv1 or png"
        )
    raise InputError(f"--mask-video: {text!r} is none of {', '.join(MASK_VIDEOS)}")
