"""What tests on a real NVIDIA GPU need: memory there that somebody else has made, and a look at it."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from segdino_deploy.engines.run.device_memory import DeviceMemory
from segdino_deploy.engines.tensorrt.flavours import FLAVOURS, Flavour
from segdino_deploy.engines.tensorrt.versions import built_with
from segdino_deploy.gpu import find_gpu
from segdino_deploy.manifest import Engine
from segdino_deploy.requirements import has_module

on_gpu = [pytest.mark.gpu, pytest.mark.skipif(find_gpu() is None, reason="needs an NVIDIA GPU")]


def require_installed(flavour: Flavour) -> None:
    if not has_module(flavour.module):
        pytest.skip(f"{flavour.title} is not installed")


def record(backend: str) -> Engine:
    flavour = FLAVOURS[backend]
    versions = built_with(flavour, flavour.load().__version__, find_gpu())
    return Engine(file=f"tiny.{flavour.suffix}", backend=backend, precision="fp32", source="x", built_with=versions)


class OnGpu:
    """An image batch that somebody has put on the GPU."""

    def __init__(self, memory: DeviceMemory, image: NDArray[Any]) -> None:
        self.memory, self.size = memory, image.nbytes
        with memory.active():
            self.address = memory.allocate(image.nbytes)
            self.stream = memory.create_stream()
            self.staged = memory.allocate_pinned(image.nbytes)
        self.shape, self.typestr = image.shape, image.dtype.str
        self.put(image)

    def put(self, image: NDArray[Any]) -> None:
        with self.memory.active():
            self.memory.synchronize(self.stream)
            self.staged[:] = image.reshape(-1).view(np.uint8)
            self.memory.copy_to_device(self.address, self.staged, self.stream)  # not waited for: that is the runner's

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.typestr,
            "data": (self.address, False),
            "version": 3,
            "stream": self.stream,
        }

    def free(self) -> None:
        with self.memory.active():
            self.memory.synchronize(self.stream)
            self.memory.free(self.address)
            self.memory.free_pinned(self.staged)
            self.memory.destroy_stream(self.stream)


def fetch(memory: DeviceMemory, array: Any) -> NDArray[Any]:
    """A copy of an output on the GPU."""
    said = array.__cuda_array_interface__
    dtype = np.dtype(said["typestr"])
    size = dtype.itemsize * int(np.prod(said["shape"]))
    with memory.active():
        pinned, stream = memory.allocate_pinned(size), memory.create_stream()
        memory.wait_for(stream, said["stream"])
        memory.copy_to_host(pinned, said["data"][0], stream)
        memory.synchronize(stream)
        found = pinned.view(dtype).reshape(said["shape"]).copy()
        memory.free_pinned(pinned)
        memory.destroy_stream(stream)
    return found


def free_bytes(memory: DeviceMemory) -> int:
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    with memory.active():
        assert ctypes.CDLL("libcuda.so.1").cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)) == 0
    return free.value
