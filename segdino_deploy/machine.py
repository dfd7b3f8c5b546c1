"""What the machine is: name of its processor and how much of it this process may use."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path


def usable_threads() -> int:
    """Processors this process may run on, which in a container can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS


def machine_name() -> str:
    """The processor's name where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


class OtherWork:
    """How busy others keep the processors of this process, from its making on."""

    def __init__(self, processes: Sequence[int] = ()) -> None:
        """`processes`: ids of those that work for this one, and are no others."""
        self._processes = processes
        self._began = _busy_seconds(), self._own_seconds(), time.monotonic()

    def processors(self) -> float | None:
        """Processors that others kept busy on average; None where the system does not tell (it is no Linux)."""
        before, own_before, began = self._began
        now = _busy_seconds()
        if before is None or now is None:
            return None
        own = self._own_seconds() - own_before
        return max(0.0, (now - before - own) / max(time.monotonic() - began, 1e-9))

    def _own_seconds(self) -> float:
        return sum(os.times()[:4]) + sum(map(_seconds_of, self._processes))


def _busy_seconds() -> float | None:
    """Of the processors that this process may use, since the system started, by whomever."""
    try:
        lines = Path("/proc/stat").read_text().splitlines()
        names = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    except (OSError, AttributeError):
        return None
    fields = [line.split() for line in lines if line.split()[:1] and line.split()[0] in names]
    ticks = sum(int(value) for entry in fields for index, value in enumerate(entry[1:9]) if index not in (3, 4))  # idle
    return ticks / os.sysconf("SC_CLK_TCK") if fields else None


def _seconds_of(process: int) -> float:
    """Processor time of a running process; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()  # behind the program's name
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # in user and in system mode
    except (OSError, IndexError, ValueError):
        return 0.0
