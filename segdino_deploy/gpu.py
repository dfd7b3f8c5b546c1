"""The NVIDIA GPU of this machine, asked of the CUDA driver itself: no toolkit, no Python package."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass

DRIVER = "libcuda.so.1"
COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR = 75, 76  # CUdevice_attribute


@dataclass(frozen=True)
class Gpu:
    """The first GPU. `cuda`: the newest CUDA version that its driver runs, such as `13.0`."""

    name: str
    compute_capability: str  # such as 8.9
    cuda: str
    count: int
    memory_bytes: int


def has_driver() -> bool:
    """Whether a CUDA driver is installed, with a GPU or without."""
    return _driver() is not None


def find_gpu() -> Gpu | None:
    """None where there is no driver, or none of its GPUs answers."""
    driver = _driver()
    if driver is None:
        return None
    count, cuda, major, minor = (ctypes.c_int(0) for _ in range(4))
    device, memory, name = ctypes.c_int(0), ctypes.c_size_t(0), ctypes.create_string_buffer(256)
    asked: tuple[Callable[[], int], ...] = (
        lambda: driver.cuInit(0),
        lambda: driver.cuDeviceGetCount(ctypes.byref(count)),
        lambda: driver.cuDeviceGet(ctypes.byref(device), 0),
        lambda: driver.cuDeviceGetName(name, len(name), device),
        lambda: driver.cuDeviceGetAttribute(ctypes.byref(major), COMPUTE_CAPABILITY_MAJOR, device),
        lambda: driver.cuDeviceGetAttribute(ctypes.byref(minor), COMPUTE_CAPABILITY_MINOR, device),
        lambda: driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device),
        lambda: driver.cuDriverGetVersion(ctypes.byref(cuda)),
    )
    if any(ask() != 0 for ask in asked):
        return None
    version = f"{cuda.value // 1000}.{cuda.value % 1000 // 10}"
    return Gpu(name.value.decode(), f"{major.value}.{minor.value}", version, count.value, memory.value)


def has_gpu() -> bool:
    return find_gpu() is not None


def _driver() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(DRIVER)
    except OSError:
        return None
