"""Where output goes: results to stdout, progress to stderr. The only place that prints."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from segdino_deploy.errors import SegdinoDeployError


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=1, default=str) + "\n")


def print_line(text: str = "") -> None:
    sys.stdout.write(text + "\n")


def print_error(error: SegdinoDeployError | str) -> None:
    sys.stderr.write(f"error: {error}\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A plain table on stdout, as wide as it needs to be; numbers to the right."""
    table = [list(columns), *[list(row) for row in rows]]
    widths = [max(len(line[i]) for line in table) for i in range(len(columns))]
    to_right = [all(_is_number(row[i]) for row in rows) for i in range(len(columns))]

    def line(cells: Sequence[str]) -> str:
        padded = [c.rjust(w) if right else c.ljust(w) for c, w, right in zip(cells, widths, to_right, strict=True)]
        return "  ".join(padded).rstrip()

    print_line(line(columns))
    print_line("  ".join("-" * width for width in widths))
    for row in rows:
        print_line(line(row))


def _is_number(cell: str) -> bool:
    try:
        float(cell.split(" ")[0])
    except ValueError:
        return cell == "-"
    return True


class Progress:
    """Steps and counted work on stderr: a live line on a terminal, plain lines elsewhere.

    Lines elsewhere come at the start of each step and at most every ten seconds of counted work.
    """

    QUIET_SECONDS = 10.0
    SETTLED_SECONDS = 2.0  # what is counted in a burst before says nothing of the rest

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._stage = ""
        self._started = 0.0
        self._settled: tuple[float, int] | None = None  # when the count had settled, and what it was
        self._last_line = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()

    def step(self, text: str) -> None:
        """Starts a step of unknown length."""
        self._stage = ""
        self._show(f"{text} ...")

    def count(self, stage: str, done: int, total: int) -> None:
        """Reports `done` of `total` in a stage, with the time left where it can be told."""
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._started, self._last_line = stage, now, now
            self._settled = None
        if self._settled is None and now - self._started >= self.SETTLED_SECONDS:
            self._settled = now, done
        since, first = self._settled or (now, done)
        seconds = (now - since) / (done - first) * (total - done) if done > first else 0.0
        left = f", {seconds:.0f} s left" if seconds >= 1 else ""  # "0 s left" for minutes would be a lie
        if self._is_terminal or done == total or now - self._last_line > self.QUIET_SECONDS:
            self._last_line = now
            self._show(f"{stage}: {done}/{total}{left}")

    def note(self, text: str) -> None:
        """A line that stays, above whatever is being done."""
        self._clear()
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def _show(self, text: str) -> None:
        if self._is_terminal:
            sys.stderr.write(f"\r\x1b[2K{text}")
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def _clear(self) -> None:
        if self._is_terminal:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()
