"""What a run over a video was like: counts, rates, times."""

from __future__ import annotations

from array import array

import numpy as np
from pydantic import Field

from segdino_deploy.manifest import Record


class Percentiles(Record):
    """Milliseconds of one kind of work, frame by frame."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    total_s: float


class Output(Record):
    """One file or folder that was written."""

    head: str
    kind: str  # "overlay" or "mask"
    path: str
    codec: str


class VideoReport(Record):
    """`frames_read` is the sum of the next four; `frames_written` is segmented and repeated ones together."""

    source: str
    is_live: bool
    width: int  # of the frames, upright
    height: int
    source_fps: float  # as the source says it, or as it was told
    written_fps: float
    frames_promised: int | None  # what the source said it has; None: it does not know
    frames_read: int
    frames_segmented: int
    frames_skipped: int  # by `every`
    frames_dropped: int  # of a live source, for newer ones
    frames_abandoned: int  # read, but not through when the run was ended
    frames_repeated: int  # of a live source, in the place of dropped ones, so that time passes as it did
    frames_written: int
    seconds: float  # from the first frame that was read to the last that was written
    fps: float  # segmented frames per second
    latency_ms: Percentiles  # of a frame from having been read to having been written, waiting included
    stages: dict[str, Percentiles]  # per frame and stage, waiting not included; stages overlap
    outputs: list[Output]
    interrupted: bool  # by Ctrl-C or `stop`
    problem: str = ""  # why not everything was read and segmented; empty: it was
    notes: list[str] = Field(default_factory=list)


class Samples:
    """Milliseconds, four bytes each: a day of 30 frames per second takes 10 MB."""

    def __init__(self) -> None:
        self._values = array("f")

    def add(self, milliseconds: float, times: int = 1) -> None:
        self._values.extend([milliseconds] * times)

    def summary(self) -> Percentiles:
        """Of at least one sample."""
        values = np.frombuffer(self._values, dtype=np.float32).astype(np.float64)
        p50, p90, p99 = (round(float(p), 3) for p in np.percentile(values, [50, 90, 99]))
        mean_ms = round(float(values.mean()), 3)
        return Percentiles(
            p50_ms=p50, p90_ms=p90, p99_ms=p99, mean_ms=mean_ms, total_s=round(float(values.sum()) / 1e3, 3)
        )
