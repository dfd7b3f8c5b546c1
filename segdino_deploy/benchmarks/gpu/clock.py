"""Timing of what is put on a stream: by CUDA's events on a GPU, by the processor's clock without one.

An event is a mark on the stream. If the stream were idle when the first mark is put there, the time up to the second
one would hold the processor's work between the two: Python, guards, launches. So the stream is kept busy with copies
while that is done, and the marks lie around the GPU's work alone. The copies also leave nothing of the model in the
GPU's caches, for everybody alike.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TypeVar

from segdino_deploy.engines.run.device_memory import DeviceMemory
from segdino_deploy.errors import SegdinoDeployError

T = TypeVar("T")

# Of each of the two buffers that are copied: more than a GPU's caches, and so much that a copy takes far longer than
# putting it on the stream.
BUFFER_BYTES = 256 * 2**20
CALIBRATION_COPIES = 20
LEAD_FACTOR, LEAD_MARGIN_MS = 1.5, 0.1  # how much longer than the processor's work the stream is kept busy
MAX_LEAD_MS = 100.0


class Clock(ABC):
    """One measurement at a time: `begin`, the work, `end`, `elapsed_ms`. `gap_ms`: the processor's part of it."""

    def __init__(self) -> None:
        self.gap_ms = 0.0

    @abstractmethod
    def begin(self, stream: int, lead_ms: float) -> None:
        """Marks the beginning on a stream that is kept busy for `lead_ms` before."""

    @abstractmethod
    def end(self, stream: int) -> None: ...

    @abstractmethod
    def elapsed_ms(self) -> float:
        """Of the last measurement, after waiting for its end."""

    @abstractmethod
    def lead_for(self, gap_ms: float) -> float:
        """How long the stream is to be kept busy, ms, where the processor needs `gap_ms` to fill it."""

    def close(self) -> None:  # noqa: B027  (one of the two has nothing to release)
        """May be called again."""


class HostClock(Clock):
    """For devices that compute while they are called."""

    def __init__(self) -> None:
        super().__init__()
        self._began = 0.0

    def begin(self, stream: int, lead_ms: float) -> None:
        del stream, lead_ms
        self._began = time.perf_counter()

    def end(self, stream: int) -> None:
        del stream
        self.gap_ms = (time.perf_counter() - self._began) * 1e3

    def elapsed_ms(self) -> float:
        return self.gap_ms

    def lead_for(self, gap_ms: float) -> float:
        del gap_ms
        return 0.0


class CudaClock(Clock):
    """By CUDA's events, on streams that `memory` has made."""

    def __init__(self, memory: DeviceMemory, buffer_bytes: int = BUFFER_BYTES) -> None:
        """SegdinoDeployError where CUDA refuses the two buffers; nothing is kept then."""
        super().__init__()
        self._memory = memory
        self._size = buffer_bytes
        self._began = 0.0
        with memory.active(), ExitStack() as stack:
            self._start, self._end = (_taken(memory.create_event, memory.destroy_event, stack) for _ in range(2))
            take = lambda: memory.allocate(buffer_bytes)  # noqa: E731
            self._source, self._target = (_taken(take, memory.free, stack) for _ in range(2))
            stream = memory.create_stream()
            try:
                self._copy_ms = self._time_copies(stream)
            finally:
                memory.synchronize(stream)
                memory.destroy_stream(stream)
            self._resources = stack.pop_all()

    def _time_copies(self, stream: int) -> float:
        """Milliseconds of one copy."""
        for _ in range(2):  # the first one wakes the GPU up
            self._memory.record(self._start, stream)
            self._copy(stream, CALIBRATION_COPIES)
            self._memory.record(self._end, stream)
            elapsed_ms = self._memory.elapsed_ms(self._start, self._end)
        return max(elapsed_ms / CALIBRATION_COPIES, 1e-3)

    def _copy(self, stream: int, times: int) -> None:
        for _ in range(times):
            self._memory.copy_on_device(self._target, self._source, self._size, stream)

    def begin(self, stream: int, lead_ms: float) -> None:
        with self._memory.active():
            self._copy(stream, math.ceil(lead_ms / self._copy_ms))
            self._memory.record(self._start, stream)
        self._began = time.perf_counter()

    def end(self, stream: int) -> None:
        self.gap_ms = (time.perf_counter() - self._began) * 1e3
        with self._memory.active():
            self._memory.record(self._end, stream)

    def elapsed_ms(self) -> float:
        with self._memory.active():
            return self._memory.elapsed_ms(self._start, self._end)

    def lead_for(self, gap_ms: float) -> float:
        return min(LEAD_FACTOR * gap_ms + LEAD_MARGIN_MS, MAX_LEAD_MS)

    def close(self) -> None:
        with suppress(SegdinoDeployError), self._memory.active():  # of a GPU that has failed nothing can be given back
            self._resources.close()


def _taken(take: Callable[[], T], release: Callable[[T], None], stack: ExitStack) -> T:
    """Released with the stack, also where the next thing is refused."""
    taken = take()
    stack.callback(release, taken)
    return taken
