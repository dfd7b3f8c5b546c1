"""The NVIDIA GPU of this machine, asked of the CUDA driver itself: no toolkit, no Python package."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from segdino_deploy.errors import SegdinoDeployError

DRIVER = "libcuda.so.1"
COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR = 75, 76  # CUdevice_attribute


@dataclass(frozen=True)
class Gpu:
    """One GPU of `count`. `cuda`: the newest CUDA version that its driver runs, such as `13.0`."""

    name: str
    compute_capability: str  # such as 8.9
    cuda: str
    count: int
    memory_bytes: int


def has_driver() -> bool:
    """Whether a CUDA driver is installed, with a GPU or without."""
    return _driver() is not None


def find_gpu() -> Gpu | None:
    """The GPU that the calling thread works on, the first one where it has none yet: there engines are built and run.

    None where there is no driver, or the GPU does not answer.
    """
    driver = _driver()
    if driver is None:
        return None
    count, cuda, major, minor = (ctypes.c_int(0) for _ in range(4))
    device, memory, name = ctypes.c_int(0), ctypes.c_size_t(0), ctypes.create_string_buffer(256)
    asked: tuple[Callable[[], int], ...] = (
        lambda: driver.cuInit(0),
        lambda: driver.cuDeviceGetCount(ctypes.byref(count)),
        lambda: driver.cuDeviceGet(ctypes.byref(device), _current(driver)),
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


def _current(driver: ctypes.CDLL) -> int:
    """By the thread's context, which CUDA's runtime makes when it is told the GPU (since CUDA 12)."""
    device = ctypes.c_int(0)
    return device.value if driver.cuCtxGetDevice(ctypes.byref(device)) == 0 else 0


@contextmanager
def current_gpu(number: int) -> Iterator[None]:
    """Makes a GPU the calling thread's, for CUDA's driver and its runtime, and gives back what the thread had.

    Where it had none, it has none again: `cudaSetDevice` would make a context on the former GPU, which takes hundreds
    of megabytes. SegdinoDeployError where the driver refuses it.
    """
    driver = _driver()
    if driver is None:
        raise SegdinoDeployError(f"GPU {number}: there is no CUDA driver any more")
    if number not in _primary_contexts:
        device, made = ctypes.c_int(0), ctypes.c_void_p()
        _check(driver.cuDeviceGet(ctypes.byref(device), number), number)
        _check(driver.cuDevicePrimaryCtxRetain(ctypes.byref(made), device), number)
        _primary_contexts[number] = made
    _check(driver.cuCtxPushCurrent_v2(_primary_contexts[number]), number)
    try:
        yield
    finally:
        driver.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))


# By GPU; CUDA's runtime shares them with everybody in the process, and nobody may take them away: kept to the end.
_primary_contexts: dict[int, ctypes.c_void_p] = {}


def _check(status: int, number: int) -> None:
    if status != 0:
        raise SegdinoDeployError(f"GPU {number}: the driver refuses a context (error {status}); check nvidia-smi")


def has_gpu() -> bool:
    return find_gpu() is not None


def _driver() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(DRIVER)
    except OSError:
        return None
