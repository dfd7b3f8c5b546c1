"""Order, number and failures of the rounds."""

from __future__ import annotations

import gc
import math

import numpy as np

from segdino_deploy.benchmarks.gpu.clock import HostClock
from segdino_deploy.benchmarks.gpu.contestants.contract import Contestant, Outputs
from segdino_deploy.benchmarks.gpu.rounds import RoundOptions, run_rounds
from segdino_deploy.benchmarks.gpu.statistics import times_faster

IMAGE = np.zeros((1, 16, 16, 3), np.uint8)


class Recorder(Contestant):
    """Notes who runs; fails at its `fails_at`-th run."""

    def __init__(self, name: str, log: list[str], fails_at: int = 0) -> None:
        super().__init__(HostClock())
        self.name, self.log, self.fails_at = name, log, fails_at

    def device_ms(self) -> float:
        assert not gc.isenabled()
        self._note(self.name)
        return 1.5

    def host_ms(self, image_nhwc: object) -> float:
        assert image_nhwc is IMAGE
        self._note(self.name.upper())
        return 2.5

    def _note(self, what: str) -> None:
        self.log.append(what)
        if sum(entry.lower() == self.name for entry in self.log) == self.fails_at:
            raise RuntimeError("broken")

    def device_answer(self) -> Outputs:
        raise AssertionError

    def run(self, _image: object) -> Outputs:
        raise AssertionError


def test_each_round_runs_all_on_the_device_then_all_from_the_host_and_rotates() -> None:
    log: list[str] = []
    done: list[tuple[int, int]] = []

    rounds = run_rounds(
        {name: Recorder(name, log) for name in "abc"},
        IMAGE,
        RoundOptions(rounds=2, min_rounds=1, warmup=1, seconds=math.inf),
        math.inf,
        lambda count, total: done.append((count, total)),
    )

    assert "".join(log) == "cabCAB" + "abcABC" + "bcaBCA"
    assert {name: (s.device_ms, s.host_ms) for name, s in rounds.samples.items()} == dict.fromkeys(
        "abc", ([1.5, 1.5], [2.5, 2.5])
    )
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert gc.isenabled()


def test_who_fails_leaves_and_the_others_keep_all_rounds() -> None:
    log: list[str] = []
    contestants = {"a": Recorder("a", log), "b": Recorder("b", log, fails_at=4), "c": Recorder("c", log)}

    rounds = run_rounds(contestants, IMAGE, RoundOptions(3, 1, 0, math.inf), math.inf)

    assert list(rounds.samples) == ["a", "c"]
    assert {len(samples.host_ms) for samples in rounds.samples.values()} == {3}
    assert [str(error) for error in rounds.failures.values()] == ["broken"]
    assert log.count("b") + log.count("B") == 4


def test_where_everybody_fails_there_are_no_samples() -> None:
    rounds = run_rounds({"a": Recorder("a", [], fails_at=1)}, IMAGE, RoundOptions(3, 1, 1, math.inf), math.inf)

    assert (rounds.samples, list(rounds.failures)) == ({}, ["a"])


def test_after_the_time_is_up_there_are_no_more_than_the_least_rounds() -> None:
    """A second passes whenever the time is asked for: at the beginning, then once or twice before each round."""
    seconds = iter(range(1000))

    def run(until: float, limit: float) -> int:
        options = RoundOptions(rounds=50, min_rounds=3, warmup=0, seconds=limit)
        rounds = run_rounds({"a": Recorder("a", [])}, IMAGE, options, until, now=lambda: float(next(seconds)))
        return len(rounds.samples["a"].device_ms)

    assert run(until=math.inf, limit=0.5) == 3
    assert run(until=0.0, limit=math.inf) == 3
    assert 3 < run(until=math.inf, limit=20) < 50


def test_times_faster_is_the_median_of_the_rounds() -> None:
    assert times_faster([2.0, 9.0, 8.0], [1.0, 3.0, 2.0]) == 3.0  # 2, 3 and 4
    assert times_faster(None, [1.0]) is None
