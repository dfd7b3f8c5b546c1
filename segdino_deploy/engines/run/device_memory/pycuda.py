"""Device memory through pycuda, where that is what the device has. It captures no graphs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from segdino_deploy.engines.run.device_memory.contract import DEFAULT_STREAM, Bytes, DeviceMemory, Event
from segdino_deploy.errors import MissingComponent, SegdinoDeployError, one_line

NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING

# pycuda's own releasing of a primary context leaves it current in a thread that never asked for it: kept to the end.
_contexts: dict[int, Any] = {}


class PycudaMemory(DeviceMemory):
    """Works in the GPU's primary context, which TensorRT and every program of CUDA's runtime share."""

    package = "pycuda"
    can_capture = False

    def __init__(self, driver: ModuleType) -> None:
        """`driver`: the module `pycuda.driver`. MissingComponent where it does not reach a GPU."""
        self._driver = driver
        self._allocations: dict[int, Any] = {}
        self._streams: dict[int, Any] = {}
        try:
            with self._checked():
                driver.init()
                self.device = _current_device(driver)
                if self.device not in _contexts:
                    _contexts[self.device] = driver.Device(self.device).retain_primary_context()
        except SegdinoDeployError as error:
            raise MissingComponent(f"pycuda does not reach a GPU here ({error}); check nvidia-smi") from error
        self._context = _contexts[self.device]

    @contextmanager
    def _checked(self) -> Iterator[None]:
        """pycuda checks every status itself; its message already is the call's name and CUDA's text."""
        try:
            yield
        except self._driver.Error as error:
            raise SegdinoDeployError(one_line(error)) from error

    @contextmanager
    def active(self) -> Iterator[None]:
        with self._checked():
            self._context.push()
        try:
            yield
        finally:
            with self._checked():
                self._driver.Context.pop()

    def allocate(self, size: int) -> int:
        with self._checked():
            allocation = self._driver.mem_alloc(size)
        self._allocations[int(allocation)] = allocation
        return int(allocation)

    def free(self, address: int) -> None:
        with self._checked():
            self._allocations.pop(address).free()

    def allocate_pinned(self, size: int) -> Bytes:
        with self._checked():
            array: Bytes = self._driver.pagelocked_empty(size, np.uint8)
        return array

    def free_pinned(self, array: Bytes) -> None:
        allocation: Any = array.base
        with self._checked():
            allocation.free()

    def free_bytes(self) -> int:
        with self._checked():
            free, _ = self._driver.mem_get_info()
        return int(free)

    def device_of(self, address: int) -> int | None:
        try:
            self._driver.mem_get_address_range(address)
        except self._driver.Error:
            return None
        return self.device

    def create_stream(self) -> int:
        with self._checked():
            stream = self._driver.Stream(NON_BLOCKING)
        self._streams[int(stream.handle)] = stream
        return int(stream.handle)

    def destroy_stream(self, stream: int) -> None:
        del self._streams[stream]  # the last reference; pycuda has no other way

    def synchronize(self, stream: int) -> None:
        with self._checked():
            self._streams[stream].synchronize()

    def wait_for(self, stream: int, producer: int) -> None:
        with self._checked():
            if producer != DEFAULT_STREAM:  # pycuda has no name for a stream that it did not make
                self._driver.Context.synchronize()
                return
            event = self._driver.Event(self._driver.event_flags.DISABLE_TIMING)
            event.record()
            self._streams[stream].wait_for_event(event)

    def copy_to_device(self, target: int, source: Bytes, stream: int) -> None:
        with self._checked():
            self._driver.memcpy_htod_async(target, source, self._streams[stream])

    def copy_to_host(self, target: Bytes, source: int, stream: int) -> None:
        with self._checked():
            self._driver.memcpy_dtoh_async(target, source, self._streams[stream])

    def copy_on_device(self, target: int, source: int, size: int, stream: int) -> None:
        with self._checked():
            self._driver.memcpy_dtod_async(target, source, size, self._streams[stream])

    def create_event(self) -> Event:
        with self._checked():
            return self._driver.Event()

    def record(self, event: Event, stream: int) -> None:
        with self._checked():
            event.record(self._streams[stream])

    def elapsed_ms(self, start: Event, end: Event) -> float:
        with self._checked():
            end.synchronize()
            return float(start.time_till(end))

    def destroy_event(self, event: Event) -> None:
        del event  # freed with the last reference


def _current_device(driver: ModuleType) -> int:
    """The GPU of the calling thread's context; the first one where it has none."""
    if driver.Context.get_current() is None:
        return 0
    mine = driver.Context.get_device()
    return next(number for number in range(driver.Device.count()) if driver.Device(number) == mine)
