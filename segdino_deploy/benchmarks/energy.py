"""Joules per image, where the platform tells: RAPL of the processor, NVML of an NVIDIA GPU.

Both count everything that runs on the package or board meanwhile, its idle power included. RAPL:
kernel.org/doc/html/latest/power/powercap/powercap.html. NVML: nvmlDeviceGetTotalEnergyConsumption, from Volta on.
"""

from __future__ import annotations

import ctypes
import importlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from segdino_deploy.benchmarks.result import Energy
from segdino_deploy.errors import one_line
from segdino_deploy.requirements import has_module

POWERCAP = Path("/sys/class/powercap")
GPU_BACKENDS = ("tensorrt", "tensorrt-rtx")
DRIVER = "libcuda.so.1"
BUS_ID_BYTES = 32  # "00000000:0B:00.0" and its end


class EnergyMeter(ABC):
    """A counter of energy. `source`: what it is of."""

    source: str

    @abstractmethod
    def joules(self) -> float:
        """Since the meter was opened. OSError where it does not answer any more."""


class RaplMeter(EnergyMeter):
    """All packages of the processor, without the memory's own domain.

    Their counters start again from 0: after about a minute to an hour at full load, which is how often `joules` has to
    be asked.
    """

    source = "RAPL package"

    def __init__(self, packages: list[Path]) -> None:
        """`packages`: folders of the domains. OSError where a counter cannot be read."""
        self._packages = packages
        self._ranges = [_number(package / "max_energy_range_uj") for package in packages]
        self._last = self._read()
        self._microjoules = 0

    def joules(self) -> float:
        now = self._read()
        for before, after, largest in zip(self._last, now, self._ranges, strict=True):
            self._microjoules += after - before if after >= before else after - before + largest
        self._last = now
        return self._microjoules / 1e6

    def _read(self) -> list[int]:
        return [_number(package / "energy_uj") for package in self._packages]


class NvmlMeter(EnergyMeter):
    """The whole board of one GPU."""

    source = "NVML board"

    def __init__(self, nvml: Any, handle: Any) -> None:
        """`nvml`: the module `pynvml`, initialised. Its error where the GPU has no such counter."""
        self._nvml = nvml
        self._handle = handle
        self._first = self._read()

    def joules(self) -> float:
        try:
            return (self._read() - self._first) / 1e3
        except self._nvml.NVMLError as error:
            raise OSError(f"NVML: {one_line(error)}") from error

    def _read(self) -> int:
        return int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))  # millijoules


def open_meter(backend: str) -> EnergyMeter | None:
    """The meter of what a backend computes on; None where the platform has none, or keeps it from this user."""
    return _open_nvml() if backend in GPU_BACKENDS else open_rapl(POWERCAP)


def open_rapl(powercap: Path) -> RaplMeter | None:
    """None: no RAPL, or (as is usual) only root may read its counters."""
    try:
        # `intel-rapl:0` is a package, also on AMD; `intel-rapl:0:0` is a part of it, and `psys` the whole machine.
        domains = sorted(path for path in powercap.glob("intel-rapl:*") if path.name.count(":") == 1)
        packages = [path for path in domains if (path / "name").read_text().startswith("package")]
        return RaplMeter(packages) if packages else None
    except (OSError, ValueError):
        return None


def _number(path: Path) -> int:
    return int(path.read_text())


def _open_nvml() -> NvmlMeter | None:
    if not has_module("pynvml"):
        return None
    bus_id = _bus_id()
    if bus_id is None:
        return None
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
        return NvmlMeter(nvml, nvml.nvmlDeviceGetHandleByPciBusId(bus_id))
    except Exception:  # NVML's errors share a base only with pynvml, which may be what does not load
        return None


def _bus_id() -> bytes | None:
    """Of CUDA's first GPU, which NVML, blind to CUDA_VISIBLE_DEVICES, may have under another number."""
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return None
    text, device = ctypes.create_string_buffer(BUS_ID_BYTES), ctypes.c_int(0)
    asked: tuple[Callable[[], int], ...] = (
        lambda: driver.cuInit(0),
        lambda: driver.cuDeviceGet(ctypes.byref(device), 0),
        lambda: driver.cuDeviceGetPCIBusId(text, BUS_ID_BYTES, device),
    )
    return None if any(ask() != 0 for ask in asked) else text.value


def measure_energy(meter: EnergyMeter, run: Callable[[], object], images_per_run: int, seconds: float) -> Energy | None:
    """Runs for at least `seconds`, and divides what the meter counted by the images.

    None where the meter stood still (some virtual machines show a counter that counts nothing) or ceased to answer.
    What `run` raises is raised.
    """
    run()  # not counted: the first run may compile and allocate
    images = 0
    before = _ask(meter)
    if before is None:
        return None
    until = time.perf_counter() + seconds
    while True:
        run()
        images += images_per_run
        if time.perf_counter() >= until:
            break
    after = _ask(meter)
    if after is None or after <= before:
        return None
    return Energy(joules_per_image=(after - before) / images, source=meter.source)


def _ask(meter: EnergyMeter) -> float | None:
    try:
        return meter.joules()
    except (OSError, ValueError):  # ValueError: a file of the system without a number in it
        return None
