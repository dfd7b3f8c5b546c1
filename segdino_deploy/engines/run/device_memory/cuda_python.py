"""Device memory through NVIDIA's cuda-python."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from segdino_deploy.engines.run.device_memory.contract import Bytes, DeviceMemory, Event, Graph
from segdino_deploy.errors import MissingComponent, SegdinoDeployError
from segdino_deploy.gpu import current_gpu

# As it is since cuda-python 12.6, and before; the second one left with 13.
SPELLINGS = ("cuda.bindings.runtime", "cuda.cudart")
NON_BLOCKING, NO_TIMING = 1, 2  # cudaStreamNonBlocking, cudaEventDisableTiming
ALLOCATIONS = ("cudaMalloc", "cudaHostAlloc")


class CudaPythonMemory(DeviceMemory):
    package = "cuda-python"
    can_capture = True

    def __init__(self, runtime: ModuleType) -> None:
        """`runtime`: the module of one of the `SPELLINGS`. MissingComponent where the driver is not fit for it."""
        self._runtime = runtime
        try:
            self.device = int(self._call("cudaGetDevice"))
        except SegdinoDeployError as error:
            raise MissingComponent(
                f"cuda-python does not work with this machine's driver ({error}); install the cuda-python of the "
                "driver's CUDA version (nvidia-smi shows it), or a newer driver"
            ) from error

    def _call(self, name: str, *arguments: Any) -> Any:
        """The call's only result, or None. SegdinoDeployError where its status is not success."""
        status, *results = getattr(self._runtime, name)(*arguments)
        if int(status) != 0:
            raise SegdinoDeployError(self._refusal(name, status, arguments))
        return results[0] if results else None

    def _refusal(self, name: str, status: Any, arguments: tuple[Any, ...]) -> str:
        _, text = self._runtime.cudaGetErrorString(status)
        said = text.decode() if isinstance(text, bytes) else str(text or "unknown error")
        code = getattr(status, "name", f"error {int(status)}")
        if name in ALLOCATIONS and code == "cudaErrorMemoryAllocation":
            asked = f"{arguments[0] / 1e6:.1f} MB were asked for"
            return f"{name}: {said} ({code}), {asked}; close other programs, or use fewer contexts or a smaller batch"
        return f"{name}: {said} ({code})"

    @contextmanager
    def active(self) -> Iterator[None]:
        if int(self._call("cudaGetDevice")) == self.device:
            yield
            return
        with current_gpu(self.device):
            yield

    def allocate(self, size: int) -> int:
        return int(self._call("cudaMalloc", size))

    def free(self, address: int) -> None:
        self._call("cudaFree", address)

    def allocate_pinned(self, size: int) -> Bytes:
        address = int(self._call("cudaHostAlloc", size, 0))
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

    def free_pinned(self, array: Bytes) -> None:
        self._call("cudaFreeHost", array.ctypes.data)

    def free_bytes(self) -> int:
        return int(self._call("cudaMemGetInfo"))  # the first of its two results; the other is the whole

    def device_of(self, address: int) -> int | None:
        attributes = self._call("cudaPointerGetAttributes", address)
        kinds = self._runtime.cudaMemoryType
        is_on_gpu = attributes.type in (kinds.cudaMemoryTypeDevice, kinds.cudaMemoryTypeManaged)
        return int(attributes.device) if is_on_gpu else None

    def create_stream(self) -> int:
        return int(self._call("cudaStreamCreateWithFlags", NON_BLOCKING))

    def destroy_stream(self, stream: int) -> None:
        self._call("cudaStreamDestroy", stream)

    def synchronize(self, stream: int) -> None:
        self._call("cudaStreamSynchronize", stream)

    def wait_for(self, stream: int, producer: int) -> None:
        event = self._call("cudaEventCreateWithFlags", NO_TIMING)
        try:
            self._call("cudaEventRecord", event, producer)
            self._call("cudaStreamWaitEvent", stream, event, 0)
        finally:
            self._call("cudaEventDestroy", event)  # CUDA keeps it until nobody waits for it

    def copy_to_device(self, target: int, source: Bytes, stream: int) -> None:
        self._copy(target, source.ctypes.data, source.nbytes, "cudaMemcpyHostToDevice", stream)

    def copy_to_host(self, target: Bytes, source: int, stream: int) -> None:
        self._copy(target.ctypes.data, source, target.nbytes, "cudaMemcpyDeviceToHost", stream)

    def copy_on_device(self, target: int, source: int, size: int, stream: int) -> None:
        self._copy(target, source, size, "cudaMemcpyDeviceToDevice", stream)

    def _copy(self, target: int, source: int, size: int, kind: str, stream: int) -> None:
        self._call("cudaMemcpyAsync", target, source, size, getattr(self._runtime.cudaMemcpyKind, kind), stream)

    def capture(self, stream: int, enqueue: Callable[[], None]) -> Graph:
        # Of this thread only: what other callers' threads do meanwhile must not spoil it.
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)
        try:
            enqueue()
        except BaseException:
            _, unfinished = self._runtime.cudaStreamEndCapture(stream)  # its status only says again what failed
            if unfinished is not None:
                self._runtime.cudaGraphDestroy(unfinished)
            raise
        graph = self._call("cudaStreamEndCapture", stream)
        try:
            return self._call("cudaGraphInstantiate", graph, 0)
        finally:
            self._call("cudaGraphDestroy", graph)

    def launch(self, graph: Graph, stream: int) -> None:
        self._call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: Graph) -> None:
        self._call("cudaGraphExecDestroy", graph)

    def create_event(self) -> Event:
        return self._call("cudaEventCreate")

    def record(self, event: Event, stream: int) -> None:
        self._call("cudaEventRecord", event, stream)

    def elapsed_ms(self, start: Event, end: Event) -> float:
        self._call("cudaEventSynchronize", end)
        return float(self._call("cudaEventElapsedTime", start, end))

    def destroy_event(self, event: Event) -> None:
        self._call("cudaEventDestroy", event)
