"""TensorRT and TensorRT-RTX, in the session that the runner uses: its stream, its buffers, its CUDA graph."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.benchmarks.gpu.clock import Clock
from segdino_deploy.benchmarks.gpu.contestants.contract import Contestant, Outputs
from segdino_deploy.benchmarks.gpu.contestants.timed_memory import TimedMemory
from segdino_deploy.benchmarks.gpu.device import Device
from segdino_deploy.engines.run.device_memory import DeviceMemory
from segdino_deploy.engines.tensorrt.interfaces import DeviceArray
from segdino_deploy.engines.tensorrt.loading import load_engine, require_runnable
from segdino_deploy.engines.tensorrt.opening import open_session
from segdino_deploy.engines.tensorrt.runtime_cache import RuntimeCache
from segdino_deploy.engines.tensorrt.session import Session
from segdino_deploy.errors import MissingComponent
from segdino_deploy.manifest import Engine, ModelCard


class ImageOnGpu:
    """An image batch on the GPU as another library would give it, with the stream that it was made on."""

    def __init__(self, memory: DeviceMemory, image_nhwc: NDArray[np.uint8]) -> None:
        """SegdinoDeployError where there is no memory for it; nothing is kept then."""
        self._shape = image_nhwc.shape
        with memory.active(), ExitStack() as stack:
            self._stream = memory.create_stream()
            stack.callback(memory.destroy_stream, self._stream)
            self._address = memory.allocate(image_nhwc.nbytes)
            stack.callback(memory.free, self._address)
            pinned = memory.allocate_pinned(image_nhwc.nbytes)
            try:
                pinned[:] = image_nhwc.reshape(-1)  # [N * H * W * 3]
                memory.copy_to_device(self._address, pinned, self._stream)
                memory.synchronize(self._stream)
            finally:
                memory.free_pinned(pinned)
            self._resources = stack.pop_all()

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self._shape,
            "typestr": "|u1",
            "data": (self._address, False),
            "version": 3,
            "strides": None,
            "stream": self._stream,
        }

    def close(self) -> None:
        self._resources.close()


class SessionContestant(Contestant):
    """A session that was made with `memory`, and the image that it is timed on. `resources` releases them."""

    def __init__(
        self,
        session: Session,
        image: ImageOnGpu,
        memory: TimedMemory,
        clock: Clock,
        resources: ExitStack,
        engine_mib: float | None = None,
    ) -> None:
        super().__init__(clock)
        self.engine_mib = engine_mib
        self._session = session
        self._image = image
        self._memory = memory
        self._resources = resources

    def device_ms(self) -> float:
        self._run_timed()
        return self.clock.elapsed_ms()

    def device_answer(self) -> Outputs:
        return {name: read_back(self._memory, array) for name, array in self._run_timed().items()}

    def run(self, image_nhwc: NDArray[np.uint8]) -> Outputs:
        return self._session.run(image_nhwc)

    def close(self) -> None:
        with self._memory.active():
            self._resources.close()

    def _run_timed(self) -> dict[str, DeviceArray]:
        with self._memory.timing(self.lead_ms):
            return self._session.run_device(self._image)


def open_engine(
    card: ModelCard, engine: Engine, path: Path, device: Device, image_nhwc: NDArray[np.uint8]
) -> Contestant:
    """Opens an engine file. Raises as `TensorRtRunner` does; nothing is kept then."""
    require_runnable(engine, path)
    if device.memory is None:
        raise MissingComponent(f"{engine.backend} engines: the stand-in has no GPU")
    memory = TimedMemory(device.memory, device.clock)
    with memory.active(), ExitStack() as stack:
        loaded = load_engine(card, engine, path)
        stack.callback(loaded.close)
        cache = None
        if loaded.flavour.compiles_on_device:
            cache = RuntimeCache(None)  # what was compiled before counts for nobody
            stack.callback(cache.close)
        session = open_session(Session, loaded, cache, memory, card, "cannot run the engine")
        stack.callback(session.close)
        image = ImageOnGpu(memory, image_nhwc)
        stack.callback(image.close)
        size_mib = path.stat().st_size / 2**20
        return SessionContestant(session, image, memory, device.clock, stack.pop_all(), size_mib)


def read_back(memory: DeviceMemory, array: DeviceArray) -> NDArray[Any]:
    """A copy in host memory of an output on the GPU, which must be complete."""
    said = array.__cuda_array_interface__
    size = int(np.prod(array.shape)) * array.dtype.itemsize
    with memory.active(), ExitStack() as stack:
        pinned = memory.allocate_pinned(size)
        stack.callback(memory.free_pinned, pinned)
        stream = memory.create_stream()
        stack.callback(memory.destroy_stream, stream)
        memory.copy_to_host(pinned, said["data"][0], stream)
        memory.synchronize(stream)
        return pinned.view(array.dtype).reshape(array.shape).copy()
