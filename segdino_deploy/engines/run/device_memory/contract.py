"""The one contract of CUDA packages: memory, streams, events and graphs of one GPU.

Addresses and streams are plain numbers, as TensorRT and `__cuda_array_interface__` take them. Sizes are bytes. Every
call raises SegdinoDeployError, in one line with the name of the CUDA call and CUDA's own text, where CUDA refuses it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Event = Any  # of the package that stands behind
Graph = Any

DEFAULT_STREAM = 1  # CUDA's legacy default stream, by the number that all interfaces use for it


class DeviceMemory(ABC):
    """CUDA of one GPU. Calls of any thread, inside `with memory.active():`.

    Attributes: `package` (the one that stands behind), `device` (number of the GPU), `can_capture` (whether `capture`
    and `launch` exist).
    """

    package: str
    device: int
    can_capture: bool

    @abstractmethod
    def active(self) -> AbstractContextManager[None]:
        """Makes this GPU the calling thread's, and gives back the former one."""

    @abstractmethod
    def allocate(self, size: int) -> int:
        """The address of `size` bytes on the GPU, aligned to 256."""

    @abstractmethod
    def free(self, address: int) -> None: ...

    @abstractmethod
    def allocate_pinned(self, size: int) -> Bytes:
        """uint8 `[size]` in page-locked memory, which copies do not have to stage. Views of it die with it."""

    @abstractmethod
    def free_pinned(self, array: Bytes) -> None: ...

    def free_bytes(self) -> int:
        """Of the GPU's memory, what no program has taken."""
        raise NotImplementedError(f"{self.package} does not tell")  # what only passes calls on may leave it out

    @abstractmethod
    def device_of(self, address: int) -> int | None:
        """The GPU that holds an address; None where it is no memory of a GPU."""

    @abstractmethod
    def create_stream(self) -> int:
        """A stream that does not wait for the default stream."""

    @abstractmethod
    def destroy_stream(self, stream: int) -> None: ...

    @abstractmethod
    def synchronize(self, stream: int) -> None:
        """Returns when all that was put on the stream is done. Other threads run on meanwhile."""

    @abstractmethod
    def wait_for(self, stream: int, producer: int) -> None:
        """What comes on `stream` from now on waits for what stands on the stream `producer` of anybody now."""

    @abstractmethod
    def copy_to_device(self, target: int, source: Bytes, stream: int) -> None:
        """Puts the copy of the contiguous array `source` on the stream; it must be pinned and stay until then."""

    @abstractmethod
    def copy_to_host(self, target: Bytes, source: int, stream: int) -> None:
        """Puts the copy into the contiguous array `target` on the stream; the same holds for it."""

    @abstractmethod
    def copy_on_device(self, target: int, source: int, size: int, stream: int) -> None: ...

    def capture(self, stream: int, enqueue: Callable[[], None]) -> Graph:
        """Records what `enqueue` puts on the stream, which does not run yet. The stream is usable after a failure."""
        raise NotImplementedError(f"{self.package} captures no CUDA graphs")  # ask `can_capture` first; so below

    def launch(self, graph: Graph, stream: int) -> None:
        raise NotImplementedError(f"{self.package} captures no CUDA graphs")

    def destroy_graph(self, graph: Graph) -> None:
        raise NotImplementedError(f"{self.package} captures no CUDA graphs")

    @abstractmethod
    def create_event(self) -> Event:
        """A mark for `record` and `elapsed_ms`."""

    @abstractmethod
    def record(self, event: Event, stream: int) -> None: ...

    @abstractmethod
    def elapsed_ms(self, start: Event, end: Event) -> float:
        """Milliseconds between two recorded marks, after waiting for the second."""

    @abstractmethod
    def destroy_event(self, event: Event) -> None: ...
