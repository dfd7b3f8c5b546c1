"""The one contract of all contestants: an image batch that is on the device already, or one in host memory."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.benchmarks.gpu.clock import Clock
from segdino_deploy.engines.run.contract import Array

Outputs = Mapping[str, Array]  # mask uint8 `[N, H, W]`, logits float32 `[N, C, H, W]`
SETTLING_RUNS = 5  # kernels are chosen, graphs captured and memory taken in the first ones


class Contestant(ABC):
    """One runtime with one model, opened with the image that it is timed on. `engine_mib`: of the file it runs.

    Every call raises what the runtime raises: their exceptions share no base.
    """

    engine_mib: float | None = None

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.lead_ms = 0.0
        self.notes: list[str] = []

    @abstractmethod
    def device_ms(self) -> float:
        """Milliseconds on the device, without any copy to or from host memory."""

    @abstractmethod
    def device_answer(self) -> Outputs:
        """What `device_ms` computes, after computing it once more."""

    @abstractmethod
    def run(self, image_nhwc: NDArray[np.uint8]) -> Outputs:
        """uint8 `[N, H, W, 3]` in host memory to arrays of the caller's own, copies included."""

    def host_ms(self, image_nhwc: NDArray[np.uint8]) -> float:
        """Milliseconds of `run`."""
        started = time.perf_counter()
        self.run(image_nhwc)
        return (time.perf_counter() - started) * 1e3

    def settle(self) -> None:
        """The first runs, which also show how long the processor needs to fill the stream."""
        gaps = []
        for _ in range(SETTLING_RUNS):
            self.device_ms()
            gaps.append(self.clock.gap_ms)
        self.lead_ms = self.clock.lead_for(min(gaps))

    def close(self) -> None:  # noqa: B027  (most free their memory with the last reference)
        """Releases what it holds. May be called again."""
