"""A GPU's memory as a session of TensorRT uses it, with marks on the stream around the engine's work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from segdino_deploy.benchmarks.gpu.clock import Clock
from segdino_deploy.engines.run.device_memory import DeviceMemory
from segdino_deploy.engines.run.device_memory.contract import Bytes, Event, Graph


class TimedMemory(DeviceMemory):
    """Passes everything on. Inside `timing`, the clock begins when the stream has been told to wait for the image, the
    last thing before the engine's work, and ends when the session goes on to wait for the stream.
    """

    def __init__(self, memory: DeviceMemory, clock: Clock) -> None:
        self._memory = memory
        self._clock = clock
        self._lead_ms: float | None = None  # None: outside `timing`
        self.package, self.device, self.can_capture = memory.package, memory.device, memory.can_capture

    @contextmanager
    def timing(self, lead_ms: float) -> Iterator[None]:
        self._lead_ms = lead_ms
        try:
            yield
        finally:
            self._lead_ms = None

    def wait_for(self, stream: int, producer: int) -> None:
        self._memory.wait_for(stream, producer)
        if self._lead_ms is not None:
            self._clock.begin(stream, self._lead_ms)

    def synchronize(self, stream: int) -> None:
        if self._lead_ms is not None:
            self._clock.end(stream)
        self._memory.synchronize(stream)

    def active(self) -> AbstractContextManager[None]:
        return self._memory.active()

    def allocate(self, size: int) -> int:
        return self._memory.allocate(size)

    def free(self, address: int) -> None:
        self._memory.free(address)

    def allocate_pinned(self, size: int) -> Bytes:
        return self._memory.allocate_pinned(size)

    def free_pinned(self, array: Bytes) -> None:
        self._memory.free_pinned(array)

    def device_of(self, address: int) -> int | None:
        return self._memory.device_of(address)

    def create_stream(self) -> int:
        return self._memory.create_stream()

    def destroy_stream(self, stream: int) -> None:
        self._memory.destroy_stream(stream)

    def copy_to_device(self, target: int, source: Bytes, stream: int) -> None:
        self._memory.copy_to_device(target, source, stream)

    def copy_to_host(self, target: Bytes, source: int, stream: int) -> None:
        self._memory.copy_to_host(target, source, stream)

    def copy_on_device(self, target: int, source: int, size: int, stream: int) -> None:
        self._memory.copy_on_device(target, source, size, stream)

    def capture(self, stream: int, enqueue: Callable[[], None]) -> Graph:
        return self._memory.capture(stream, enqueue)

    def launch(self, graph: Graph, stream: int) -> None:
        self._memory.launch(graph, stream)

    def destroy_graph(self, graph: Graph) -> None:
        self._memory.destroy_graph(graph)

    def create_event(self) -> Event:
        return self._memory.create_event()

    def record(self, event: Event, stream: int) -> None:
        self._memory.record(event, stream)

    def elapsed_ms(self, start: Event, end: Event) -> float:
        return self._memory.elapsed_ms(start, end)

    def destroy_event(self, event: Event) -> None:
        self._memory.destroy_event(event)
