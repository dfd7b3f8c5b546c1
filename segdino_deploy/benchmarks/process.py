"""Start-up and peak memory of one contestant, measured in new processes of its own.

python -m segdino_deploy.benchmarks.process BUNDLE ENGINE|torch-fp32
    [--reference FILE]... [--backbone-weights FILE] [--threads N]
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from segdino_deploy.errors import InputError, SegdinoDeployError
from segdino_deploy.requirements import has_module

if TYPE_CHECKING:
    from segdino_deploy.benchmarks.native.program import Program
    from segdino_deploy.benchmarks.result import StartUp
    from segdino_deploy.bundle import Bundle

RUNS = 3  # in each process, before its memory is read
# What opening a contestant would import first, by backend. It counts as imports here, not as opening.
LIBRARIES = {
    "torch": ("torch", "segdino_deploy.model.joint"),
    "onnxruntime": ("onnxruntime",),
    "openvino": ("openvino",),
    "tensorrt": ("tensorrt",),
    "tensorrt-rtx": ("tensorrt_rtx",),
}


@dataclass(frozen=True)
class Start:
    """What one process reported. Seconds: one after the other, from its start on."""

    imports_s: float  # Python itself, this package and the backend's library; in C++ the program's libraries
    open_s: float  # hashes of the bundle, reading the engine, compilation
    first_mask_s: float
    peak_host_mib: float
    device_mib: float | None  # None: no device with memory of its own, or it does not tell

    @property
    def total_s(self) -> float:
        return self.imports_s + self.open_s + self.first_mask_s


@dataclass(frozen=True)
class ProcessReport:
    """Medians of several processes, and each of them."""

    start_up: StartUp
    peak_host_mib: float
    device_mib: float | None
    starts: tuple[Start, ...]


def measure_process(
    bundle: Path,
    contestant: str,
    references: Sequence[Path] = (),
    backbone_weights: Path | None = None,
    repeats: int = 3,
    threads: int | None = None,
    program: Program | None = None,
) -> ProcessReport:
    """Opens `contestant` (by its name in the benchmark) in `repeats` new processes, one after the other.

    `threads`: that the contestant may use; None: all that the process may. `program`: for those in C++. The first
    process may have to read the files from the disk, the later ones find them in the system's memory. The bundle is
    only read. Raises SegdinoDeployError, with what the process said, where one of them fails.
    """
    from segdino_deploy.benchmarks.result import StartUp

    if repeats < 1:
        raise InputError(f"start-up: {repeats} new processes; at least 1")
    command = _command(bundle, contestant, references, backbone_weights, threads, program)
    starts = tuple(_start(contestant, command) for _ in range(repeats))
    on_device = [start.device_mib for start in starts if start.device_mib is not None]
    start_up = StartUp(
        imports_s=statistics.median(start.imports_s for start in starts),
        open_s=statistics.median(start.open_s for start in starts),
        first_mask_s=statistics.median(start.first_mask_s for start in starts),
        total_s=statistics.median(start.total_s for start in starts),
        samples_s=[round(start.total_s, 4) for start in starts],
    )
    return ProcessReport(
        start_up=start_up,
        peak_host_mib=statistics.median(start.peak_host_mib for start in starts),
        device_mib=statistics.median(on_device) if on_device else None,
        starts=starts,
    )


def peak_memory_mib(
    bundle: Path, contestant: str, references: Sequence[Path] = (), backbone_weights: Path | None = None
) -> float:
    """Peak resident memory in MiB of opening `contestant` (by its name in the benchmark) and running it a few times."""
    return _start(contestant, _command(bundle, contestant, references, backbone_weights)).peak_host_mib


def _command(
    bundle: Path,
    contestant: str,
    references: Sequence[Path],
    backbone_weights: Path | None,
    threads: int | None = None,
    program: Program | None = None,
) -> list[str]:
    """What reports as `report` does, given when it was started behind `--started`."""
    from segdino_deploy.benchmarks.contestants import engine_of, is_in_cpp

    if is_in_cpp(contestant) and program is not None:
        command = [str(program.path), str(bundle), "--start", "--engine", engine_of(contestant)]
    else:
        command = [sys.executable, "-m", "segdino_deploy.benchmarks.process", str(bundle), contestant]
    for path in references:
        command += ["--reference", str(path)]
    if backbone_weights is not None:
        command += ["--backbone-weights", str(backbone_weights)]
    if threads is not None:
        command += ["--threads", str(threads)]
    return command


def _start(contestant: str, command: list[str]) -> Start:
    # One clock for all processes of a machine: it counts from a point before all of them.
    started = ["--started", repr(time.monotonic())]
    done = subprocess.run([*command, *started], capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        why = said[-1].removeprefix("error: ") if said else f"it ended with status {done.returncode} and said nothing"
        raise SegdinoDeployError(f"opening {contestant} in a new process failed: {why}")
    return Start(**json.loads(done.stdout.splitlines()[-1]))


def own_peak_mib() -> float:
    """Peak of this process image. Linux's rusage would count the parent's memory at the fork too."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 2**20


def _backend_of(bundle: Bundle, contestant: str) -> str:
    from segdino_deploy.benchmarks.contestants import ONNX_REFERENCE, TORCH

    engines = bundle.manifest.engines
    backends = {TORCH: "torch", ONNX_REFERENCE: "onnxruntime"} | {name: e.backend for name, e in engines.items()}
    if contestant not in backends:
        raise InputError(f"{bundle.path}: no engine is called {contestant} (has: {', '.join(engines) or 'none'})")
    return backends[contestant]


def _import_libraries(backend: str) -> None:
    for name in LIBRARIES.get(backend, ()):
        if has_module(name):  # opening says what is missing, and how to get it
            importlib.import_module(name)


def report(
    bundle_path: Path,
    contestant: str,
    references: Sequence[Path],
    backbone_weights: Path | None,
    threads: int | None,
    started: float,
) -> Start:
    """Of this process, which began at `started` (seconds of the monotonic clock) and has done nothing else."""
    import numpy as np

    from segdino_deploy.benchmarks.contestants import open_contestant
    from segdino_deploy.bundle import Bundle
    from segdino_deploy.export.graph import INPUT

    imported = time.monotonic()
    bundle = Bundle.open(bundle_path)
    verified = time.monotonic()
    _import_libraries(_backend_of(bundle, contestant))
    loaded = time.monotonic()
    with open_contestant(bundle, contestant, references, backbone_weights, threads) as runner:
        opened = time.monotonic()
        card = runner.card
        image = np.full((card.batch.min, *card.input_size, 3), 128, np.uint8)
        runner.run({INPUT: image})
        answered = time.monotonic()
        for _ in range(RUNS - 1):
            runner.run({INPUT: image})
        device_mib = runner.device_memory_mib
    return Start(
        imports_s=imported - started + loaded - verified,
        open_s=verified - imported + opened - loaded,
        first_mask_s=answered - opened,
        peak_host_mib=round(own_peak_mib(), 1),
        device_mib=None if device_mib is None else round(device_mib, 1),
    )


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("contestant")
    parser.add_argument("--reference", type=Path, action="append", default=[])
    parser.add_argument("--backbone-weights", type=Path)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--started", type=float, default=time.monotonic())
    given = parser.parse_args(arguments)
    try:
        start = report(
            given.bundle, given.contestant, given.reference, given.backbone_weights, given.threads, given.started
        )
    except SegdinoDeployError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(error.exit_code) from None
    sys.stdout.write("\n" + json.dumps(asdict(start)) + "\n")  # a line of its own: libraries print what they like


if __name__ == "__main__":
    main(sys.argv[1:])
