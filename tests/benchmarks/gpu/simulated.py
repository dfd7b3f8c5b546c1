"""The simulated GPU with events: everything that runs on a stream takes one millisecond."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.engines.run.simulation import SimulatedGpu


class TickingGpu(SimulatedGpu):
    """`now_ms`: of the device. `events`: those that exist, with the time when the stream came to them."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 0.0
        self.events: dict[int, dict[str, Any]] = {}

    def put(self, stream: int, work: Callable[[], None]) -> None:
        def timed() -> None:
            work()
            self.now_ms += 1.0

        super().put(stream, timed)

    def create_event(self) -> dict[str, Any]:
        event: dict[str, Any] = {}
        self.events[id(event)] = event
        return event

    def record(self, event: dict[str, Any], stream: int) -> None:
        self._note("record")
        event["stream"] = stream
        self.streams[stream].append(lambda: event.__setitem__("ms", self.now_ms))

    def elapsed_ms(self, start: dict[str, Any], end: dict[str, Any]) -> float:
        self._note("elapsed_ms")
        self.drain(end["stream"])
        return float(end["ms"] - start["ms"])

    def destroy_event(self, event: dict[str, Any]) -> None:
        self.events.pop(id(event))
        self._note("destroy_event")

    @property
    def is_empty(self) -> bool:
        return super().is_empty and not self.events
