"""Where contestants run: the machine's NVIDIA GPU, or the processor as a stand-in to try the suite out."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from segdino_deploy.benchmarks.gpu.clock import BUFFER_BYTES, Clock, CudaClock, HostClock
from segdino_deploy.benchmarks.gpu.result import Machine
from segdino_deploy.engines.run.device_memory import DeviceMemory, open_device_memory
from segdino_deploy.errors import InputError, MissingComponent
from segdino_deploy.gpu import Gpu, find_gpu
from segdino_deploy.machine import machine_name
from segdino_deploy.requirements import require_module

DeviceKind = Literal["cuda", "cpu"]
BUFFER_SHARE = 64  # of a small GPU's memory, a buffer of the clock takes no more than one part in so many
PACKAGES = (
    "torch",
    "triton",
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorrt",
    "tensorrt-rtx-cu13",
    "cuda-bindings",
    "pycuda",
    "onnx",
    "numpy",
)


@dataclass(frozen=True)
class Device:
    """`kind` is PyTorch's and ONNX Runtime's name for it. `memory` is None on the stand-in."""

    kind: DeviceKind
    gpu: Gpu
    clock: Clock
    memory: DeviceMemory | None

    @property
    def machine(self) -> Machine:
        return Machine(
            kind=self.kind,
            name=self.gpu.name,
            compute_capability=self.gpu.compute_capability,
            memory_mib=self.gpu.memory_bytes >> 20,
            processor=machine_name(),
        )

    def versions(self) -> dict[str, str]:
        """Of the libraries that are installed, of Python and of the driver's CUDA."""
        found = {"python": platform.python_version(), "cuda": self.gpu.cuda}
        for name in PACKAGES:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                continue
        return found

    def works(self) -> bool:
        """False after an error that CUDA does not recover from in this process."""
        try:
            with self.stream():
                return True
        except Exception:  # of whichever package stands behind
            return False

    @contextmanager
    def stream(self) -> Iterator[int]:
        """A stream of its own, by number; 0 on the stand-in, which has none."""
        if self.memory is None:
            yield 0
            return
        with self.memory.active():
            stream = self.memory.create_stream()
        try:
            yield stream
        finally:
            with self.memory.active():
                self.memory.synchronize(stream)
                self.memory.destroy_stream(stream)


def open_device(kind: DeviceKind) -> Device:
    """MissingComponent: no NVIDIA GPU here, or no CUDA for Python."""
    require_module("torch", "the GPU suite", extra="export")
    if kind == "cpu":
        return Device("cpu", Gpu(f"no GPU ({machine_name()})", "0.0", "0.0", 0, 0), HostClock(), None)
    if kind != "cuda":
        raise InputError(f"--device: {kind!r} is neither cuda nor cpu")
    gpu = find_gpu()
    if gpu is None:
        raise MissingComponent("the GPU suite: no usable NVIDIA GPU here; run it where nvidia-smi shows one")
    memory = open_device_memory()
    clock = CudaClock(memory, min(BUFFER_BYTES, gpu.memory_bytes // BUFFER_SHARE))
    return Device("cuda", gpu, clock, memory)
