"""Energy meters against a simulated /sys and a simulated NVML; figures worked out by hand."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from segdino_deploy.benchmarks import energy
from segdino_deploy.benchmarks.energy import EnergyMeter, measure_energy, open_meter, open_rapl


class Powercap:
    """The folder /sys/class/powercap, with counters that a test sets."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, domain: str, name: str, energy_uj: int, largest: int = 10**12) -> Path:
        folder = self.root / domain
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "max_energy_range_uj").write_text(f"{largest}\n")
        self.set(domain, energy_uj)
        return folder

    def set(self, domain: str, energy_uj: int) -> None:
        (self.root / domain / "energy_uj").write_text(f"{energy_uj}\n")


@pytest.fixture
def powercap(tmp_path: Path) -> Powercap:
    return Powercap(tmp_path / "powercap")


def test_both_packages_count_and_nothing_else_does(powercap: Powercap) -> None:
    powercap.add("intel-rapl:0", "package-0", 1_000_000)
    powercap.add("intel-rapl:1", "package-1", 5_000_000)
    others = {
        "intel-rapl:0:0": "core",
        "intel-rapl:0:1": "dram",
        "intel-rapl:2": "psys",
        "intel-rapl-mmio:0": "package-0",
    }
    for domain, name in others.items():
        powercap.add(domain, name, 0)
    meter = open_rapl(powercap.root)
    assert meter is not None

    for domain in others:
        powercap.set(domain, 900_000_000)
    powercap.set("intel-rapl:0", 3_000_000)
    powercap.set("intel-rapl:1", 5_500_000)

    assert meter.joules() == 2.5
    assert meter.source == "RAPL package"


def test_a_counter_that_begins_again_goes_on(powercap: Powercap) -> None:
    powercap.add("intel-rapl:0", "package-0", 9_000_000, largest=10_000_000)
    meter = open_rapl(powercap.root)
    assert meter is not None

    powercap.set("intel-rapl:0", 2_000_000)
    assert meter.joules() == 3  # 1 up to the end, and 2 from 0 on
    powercap.set("intel-rapl:0", 8_000_000)
    assert meter.joules() == 9
    powercap.set("intel-rapl:0", 1_000_000)
    assert meter.joules() == 12


def test_counters_that_this_user_may_not_read_are_no_meter(powercap: Powercap, monkeypatch: pytest.MonkeyPatch) -> None:
    powercap.add("intel-rapl:0", "package-0", 1)
    forbidden = powercap.add("intel-rapl:1", "package-1", 1) / "energy_uj"
    read = Path.read_text

    def guarded(path: Path, *arguments: Any, **named: Any) -> str:
        if path == forbidden:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path, *arguments, **named)

    monkeypatch.setattr(Path, "read_text", guarded)

    assert open_rapl(powercap.root) is None


@pytest.mark.parametrize("content", [{}, {"intel-rapl:0": "psys"}, {"intel-rapl:0:0": "core"}])
def test_without_a_package_there_is_no_meter(content: dict[str, str], powercap: Powercap) -> None:
    for domain, name in content.items():
        powercap.add(domain, name, 1)

    assert open_rapl(powercap.root) is None


def test_a_counter_without_a_number_is_no_meter(powercap: Powercap) -> None:
    (powercap.add("intel-rapl:0", "package-0", 1) / "energy_uj").write_text("")

    assert open_rapl(powercap.root) is None


def test_engines_of_the_processor_are_metered_by_rapl(powercap: Powercap, monkeypatch: pytest.MonkeyPatch) -> None:
    powercap.add("intel-rapl:0", "package-0", 1)
    monkeypatch.setattr(energy, "POWERCAP", powercap.root)
    monkeypatch.setattr(energy, "_open_nvml", lambda: None)

    for backend in ("openvino", "onnxruntime", "torch"):
        meter = open_meter(backend)
        assert meter is not None
        assert meter.source == "RAPL package"
    assert open_meter("tensorrt") is None  # the processor's energy is not that of a GPU


class NVMLError(Exception):
    pass


class Nvml(SimpleNamespace):
    """`pynvml` with two GPUs that CUDA has in the other order."""

    NVMLError = NVMLError

    def __init__(self, millijoules: int) -> None:
        super().__init__(millijoules=millijoules, is_initialised=False, is_supported=True)

    def nvmlInit(self) -> None:  # noqa: N802
        self.is_initialised = True

    def nvmlDeviceGetHandleByPciBusId(self, bus_id: bytes) -> str:  # noqa: N802
        assert self.is_initialised
        return {b"0000:0B:00.0": "the second", b"0000:01:00.0": "the first"}[bus_id]

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:  # noqa: N802
        assert handle == "the second"
        if not self.is_supported:
            raise NVMLError("Not Supported")
        return int(self.millijoules)


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Nvml:
    module = Nvml(7_000_000)
    monkeypatch.setitem(sys.modules, "pynvml", module)  # type: ignore[arg-type]
    monkeypatch.setattr(energy, "has_module", lambda name: name == "pynvml")
    monkeypatch.setattr(energy, "_bus_id", lambda: b"0000:0B:00.0")
    return module


@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt-rtx"])
def test_engines_of_a_gpu_are_metered_by_the_board_that_cuda_uses(backend: str, nvml: Nvml) -> None:
    meter = open_meter(backend)
    assert meter is not None

    nvml.millijoules += 1500

    assert meter.joules() == 1.5
    assert meter.source == "NVML board"


def test_a_gpu_without_a_counter_or_without_nvml_has_no_meter(nvml: Nvml, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml.is_supported = False
    assert open_meter("tensorrt") is None
    nvml.is_supported = True
    monkeypatch.setattr(energy, "_bus_id", lambda: None)
    assert open_meter("tensorrt") is None
    monkeypatch.setattr(energy, "has_module", lambda _: False)
    assert open_meter("tensorrt") is None


class Meter(EnergyMeter):
    """Counts what a test says a run takes."""

    source = "simulation"

    def __init__(self, joules_per_run: float) -> None:
        self.runs = 0
        self.joules_per_run = joules_per_run

    def joules(self) -> float:
        return 100 + self.runs * self.joules_per_run

    def run(self) -> None:
        self.runs += 1


def test_joules_are_per_image_without_the_first_run() -> None:
    meter = Meter(12.0)

    found = measure_energy(meter, meter.run, images_per_run=4, seconds=0.01)

    assert found is not None
    assert found.joules_per_image == pytest.approx(3.0)
    assert found.source == "simulation"
    assert meter.runs > 2


def test_a_run_longer_than_the_time_counts_once() -> None:
    meter = Meter(5.0)

    found = measure_energy(meter, meter.run, images_per_run=1, seconds=0.0)

    assert meter.runs == 2
    assert found is not None
    assert found.joules_per_image == pytest.approx(5.0)


def test_a_counter_that_stands_still_is_no_energy() -> None:
    meter = Meter(0.0)

    assert measure_energy(meter, meter.run, 1, 0.0) is None


@pytest.mark.parametrize("answers", [0, 1])
@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), ValueError("no number")])
def test_a_meter_that_ceases_to_answer_is_no_energy(answers: int, error: Exception) -> None:
    class Broken(Meter):
        asked = 0

        def joules(self) -> float:
            if self.asked == answers:
                raise error
            self.asked += 1
            return super().joules()

    meter = Broken(5.0)

    assert measure_energy(meter, meter.run, 1, 0.0) is None


def test_a_gpu_whose_counter_fails_in_the_middle_is_no_energy(nvml: Nvml) -> None:
    meter = open_meter("tensorrt")
    assert meter is not None

    def run() -> None:
        nvml.is_supported = False

    assert measure_energy(meter, run, 1, 0.0) is None


def test_an_engine_that_fails_while_it_is_metered_is_an_error() -> None:
    def run() -> None:
        raise OSError("the engine's own")

    with pytest.raises(OSError, match="own"):
        measure_energy(Meter(1.0), run, 1, 0.0)
