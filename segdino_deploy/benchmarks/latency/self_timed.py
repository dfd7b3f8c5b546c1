"""Runners that are not in this process: they take their times where they run, so that the way there is no part of them.

What is measured is the same as of all others, in the same rounds; see `rounds.py` and `throughput.py`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.engines.run import Runner
from segdino_deploy.segment import StageTimes

UInt8 = NDArray[np.uint8]


@dataclass(frozen=True)
class TurnTimes:
    """Milliseconds of one turn, not divided by the batch."""

    engine_only_ms: float
    with_copies_ms: float
    file: StageTimes | None  # None: no files were loaded


class SelfTimedRunner(Runner):
    """A runner with a clock of its own. Every method raises as `run` does.

    Attribute `process_id`: of the process that it runs in.
    """

    process_id: int

    @abstractmethod
    def load(self, images: Sequence[UInt8], files: Sequence[Path]) -> None:
        """Hands over what the turns are measured with: batches uint8 `[N, H, W, 3]`, and image files, maybe none."""

    @abstractmethod
    def turn(self, round_index: int) -> TurnTimes:
        """One turn with what was loaded: a run that does not count, then each of the ways once."""

    @abstractmethod
    def run_again(self) -> None:
        """Runs the first loaded batch, and sends nothing to and fro."""

    @abstractmethod
    def segment(self, path: Path) -> dict[str, UInt8]:
        """An image file's masks `[H, W]` at source size by head: read, resized and resized back where it runs."""

    @abstractmethod
    def call(self, batches: Sequence[UInt8], callers: int, seconds: float) -> list[list[tuple[float, float]]]:
        """When the calls of each caller began and ended, in seconds since all of them began together.

        Callers are threads, each of which sends the next batch when it has its masks: for `seconds`, and until each has
        had `throughput.CALLS_AT_LEAST` calls. Caller k's calls have the batches k, k + 1 and so on.
        """
