"""A GPU in host memory, with the rules of a real one, so that breaking a rule shows as a wrong result or an error.

Streams run nothing before somebody synchronises; copies and engines read memory when they run, not when they are put on
a stream; a graph captured for one shape computes nonsense after the context has had another one. A call that is refused
does nothing, but for those that release: of them the error is an earlier one, as with CUDA.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.engines.run.device_memory.contract import Bytes, DeviceMemory, Event, Graph
from segdino_deploy.engines.tensorrt.session import Session
from segdino_deploy.engines.tensorrt.tensors import output_tensors
from segdino_deploy.errors import SegdinoDeployError
from segdino_deploy.manifest import ModelCard
from tests.engines.run.model import answer

ALIGNMENT = 256
MEMORY_BYTES = 2**30
NONSENSE = 0xAB
Work = Callable[[], None]


def view(address: int, size: int) -> Bytes:
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))


class SimulatedGpu(DeviceMemory):
    """`log` names the calls that took, moved or released something, in order. `fails_at`: the call that is refused."""

    package = "simulation"
    device = 0

    def __init__(self, *, can_capture: bool = True) -> None:
        self.can_capture = can_capture
        self.log: list[str] = []
        self.fails_at: int | None = None
        self.allocations: dict[int, NDArray[np.uint8]] = {}
        self.pinned: dict[int, NDArray[np.uint8]] = {}
        self.streams: dict[int, list[Work]] = {}
        self.graphs: list[list[Work]] = []
        self.launches = 0
        self._active = threading.local()
        self._streams_made = 0
        self._lock = threading.RLock()

    def _note(self, name: str) -> None:
        assert getattr(self._active, "depth", 0), f"{name} outside active()"
        self.log.append(name)
        if self.fails_at is not None and len(self.log) == self.fails_at:
            raise SegdinoDeployError(f"{name}: refused by the simulation")

    @contextmanager
    def active(self) -> Iterator[None]:
        self._active.depth = getattr(self._active, "depth", 0) + 1
        try:
            yield
        finally:
            self._active.depth -= 1

    @property
    def capturing(self) -> list[Work] | None:
        """The graph that the calling thread captures."""
        found: list[Work] | None = getattr(self._active, "capturing", None)
        return found

    @property
    def is_empty(self) -> bool:
        return not (self.allocations or self.pinned or self.streams or self.graphs)

    def _aligned(self, size: int) -> NDArray[np.uint8]:
        whole = np.full(size + ALIGNMENT, NONSENSE, np.uint8)
        offset = -whole.ctypes.data % ALIGNMENT
        return whole[offset : offset + size]

    def allocate(self, size: int) -> int:
        self._note("allocate")
        memory = self._aligned(size)
        with self._lock:
            self.allocations[memory.ctypes.data] = memory
        return memory.ctypes.data

    def free(self, address: int) -> None:
        self._require_rest()
        self.allocations.pop(address)[:] = NONSENSE
        self._note("free")

    def allocate_pinned(self, size: int) -> Bytes:
        self._note("allocate_pinned")
        array = self._aligned(size)
        with self._lock:
            self.pinned[array.ctypes.data] = array
        return array

    def free_pinned(self, array: Bytes) -> None:
        self._require_rest()
        self.pinned.pop(array.ctypes.data)[:] = NONSENSE
        self._note("free_pinned")

    def free_bytes(self) -> int:
        assert getattr(self._active, "depth", 0), "free_bytes outside active()"
        return MEMORY_BYTES - sum(memory.nbytes for memory in self.allocations.values())

    def _require_rest(self) -> None:
        assert not any(self.streams.values()), "memory was released while work was to be done"

    def device_of(self, address: int) -> int | None:
        holders = (base for base, memory in self.allocations.items() if base <= address < base + memory.nbytes)
        return self.device if next(holders, None) is not None else None

    def create_stream(self) -> int:
        self._note("create_stream")
        with self._lock:
            self._streams_made += 1
            stream = 1000 + self._streams_made
            self.streams[stream] = []
        return stream

    def destroy_stream(self, stream: int) -> None:
        assert not self.streams.pop(stream), "a stream was destroyed while work was to be done"
        self._note("destroy_stream")

    def put(self, stream: int, work: Work) -> None:
        """What kernels do: part of the graph while one is captured, else queued."""
        graph = self.capturing
        (self.streams[stream] if graph is None else graph).append(work)

    def synchronize(self, stream: int) -> None:
        self._note("synchronize")
        assert self.capturing is None
        self.drain(stream)

    def drain(self, stream: int) -> None:
        waiting, self.streams[stream] = self.streams[stream], []
        for work in waiting:
            work()

    def wait_for(self, stream: int, producer: int) -> None:
        self._note("wait_for")
        self.put(stream, lambda: self.drain(producer))

    def copy_to_device(self, target: int, source: Bytes, stream: int) -> None:
        self._note("copy_to_device")
        assert source.ctypes.data in self.pinned
        self._copy(target, source.ctypes.data, source.nbytes, stream)

    def copy_to_host(self, target: Bytes, source: int, stream: int) -> None:
        self._note("copy_to_host")
        assert target.ctypes.data in self.pinned
        self._copy(target.ctypes.data, source, target.nbytes, stream)

    def copy_on_device(self, target: int, source: int, size: int, stream: int) -> None:
        self._note("copy_on_device")
        self._copy(target, source, size, stream)

    def _copy(self, target: int, source: int, size: int, stream: int) -> None:
        def work() -> None:
            view(target, size)[:] = view(source, size)

        self.put(stream, work)

    def capture(self, stream: int, enqueue: Callable[[], None]) -> Graph:
        self._note("capture")
        assert stream in self.streams
        graph: list[Work] = []
        self._active.capturing = graph
        try:
            enqueue()
        finally:
            self._active.capturing = None
        self.graphs.append(graph)
        return graph

    def launch(self, graph: Graph, stream: int) -> None:
        self._note("launch")
        assert any(known is graph for known in self.graphs), "a destroyed graph was launched"
        self.launches += 1
        self.streams[stream].extend(graph)

    def destroy_graph(self, graph: Graph) -> None:
        self.graphs = [known for known in self.graphs if known is not graph]
        self._note("destroy_graph")

    def create_event(self) -> Event:
        raise NotImplementedError

    def record(self, event: Event, stream: int) -> None:
        raise NotImplementedError

    def elapsed_ms(self, start: Event, end: Event) -> float:
        raise NotImplementedError

    def destroy_event(self, event: Event) -> None:
        raise NotImplementedError


class SimulatedContext:
    """An execution context of the engine that computes `answer`. `refusals`: how many executions it will refuse."""

    def __init__(self, gpu: SimulatedGpu, card: ModelCard) -> None:
        self.gpu = gpu
        self.card = card
        self.addresses: dict[str, int] = {}
        self.batch: int | None = None
        self.refusals = 0
        self.refuses_capture = False
        self.executions = 0

    def __del__(self) -> None:
        self.gpu.log.append("context is gone")

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        batch, *rest = shape
        fits = name == "image" and tuple(rest) == (*self.card.input_size, 3)
        if not fits or not self.card.batch.min <= batch <= self.card.batch.max:
            return False
        self.batch = batch
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in ("image", *self.card.output_names) or memory % ALIGNMENT:
            return False
        self.addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        self.executions += 1
        if self.refuses_capture and self.gpu.capturing is not None:
            return False
        if self.refusals:
            self.refusals -= 1
            self.batch = None  # nobody says what a context keeps after that
            return False
        if self.batch is None or set(self.addresses) != {"image", *self.card.output_names}:
            return False
        addresses, batch = dict(self.addresses), self.batch
        shape = (batch, *self.card.input_size, 3)
        outputs = output_tensors(self.card)

        def work() -> None:
            image = view(addresses["image"], int(np.prod(shape))).reshape(shape)  # [N, H, W, 3]
            results = answer(image)
            for tensor in outputs:
                memory = view(addresses[tensor.name], tensor.size_of(batch))
                memory[:] = NONSENSE if self.batch != batch else results[tensor.name].reshape(-1).view(np.uint8)

        self.gpu.put(stream_handle, work)
        return True


class Producer:
    """An array of the simulated GPU as another library gives it: `__cuda_array_interface__` with what is asked for."""

    def __init__(self, gpu: SimulatedGpu, image: NDArray[Any], offset: int = 0, **changes: Any) -> None:
        with gpu.active():
            self.address = gpu.allocate(image.nbytes + offset) + offset
        self.memory = view(self.address, image.nbytes)
        self.memory[:] = image.reshape(-1).view(np.uint8)
        self.said: dict[str, Any] = {
            "shape": image.shape,
            "typestr": image.dtype.str,
            "data": (self.address, False),
            "version": 3,
            "strides": None,
            "stream": None,
            **changes,
        }

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self.said


def read_back(array: Any) -> NDArray[Any]:
    """A copy of what stands in a `__cuda_array_interface__` now."""
    said = array.__cuda_array_interface__
    dtype, shape = np.dtype(said["typestr"]), said["shape"]
    return view(said["data"][0], dtype.itemsize * int(np.prod(shape))).view(dtype).reshape(shape).copy()


class SimulatedEngine:
    """Stands for a deserialized engine, and counts as gone in the log. `contexts`: how many it can give."""

    def __init__(self, gpu: SimulatedGpu, card: ModelCard, contexts: int = 100) -> None:
        self.gpu, self.card, self.left = gpu, card, contexts

    def __del__(self) -> None:
        self.gpu.log.append("engine is gone")

    def create_execution_context(self) -> SimulatedContext | None:
        self.left -= 1
        return SimulatedContext(self.gpu, self.card) if self.left >= 0 else None


def refused() -> SegdinoDeployError:
    return SegdinoDeployError("TensorRT 10.3 cannot run the engine: it says why")


def open_session(gpu: SimulatedGpu, card: ModelCard, *, captures_itself: bool = False) -> Session:
    """A session of the simulated engine."""
    create: Any = lambda: SimulatedContext(gpu, card)  # noqa: E731
    return Session(gpu, create, card, refused, captures_itself=captures_itself)


def context_of(session: Session) -> Any:
    return session._context
