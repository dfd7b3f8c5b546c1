"""Contestants that compute nothing, on a device that holds as many of them as a test says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.benchmarks.gpu.case import CaseRun
from segdino_deploy.benchmarks.gpu.clock import HostClock
from segdino_deploy.benchmarks.gpu.contestants import Open
from segdino_deploy.benchmarks.gpu.contestants.contract import Contestant, Outputs
from segdino_deploy.benchmarks.gpu.plan import Deadlines, Spec
from segdino_deploy.benchmarks.gpu.progress import Progress
from segdino_deploy.benchmarks.gpu.result import CaseResult
from segdino_deploy.benchmarks.gpu.rounds import RoundOptions
from segdino_deploy.canary import Canary
from segdino_deploy.errors import MissingComponent
from segdino_deploy.evidence import mask_from_logits

NO_LIMIT = Deadlines(np.inf, np.inf, np.inf)
OPTIONS = RoundOptions(rounds=4, min_rounds=2, warmup=1, seconds=60)
EMPTY = CaseResult(name="case", family="v1_convt", vit="tiny", size=32, batch=2, seed=0)


def make_canary() -> Canary:
    logits = np.random.default_rng(0).normal(size=(2, 1, 32, 32)).astype(np.float32)
    return Canary(np.zeros((2, 32, 32, 3), np.uint8), {"": logits}, {"": mask_from_logits(logits, 0.5)})


class FakeContestant(Contestant):
    """Takes `ms` on the device and twice that from host memory; answers with the canary's logits plus `offset`."""

    def __init__(self, makers: FakeMakers, spec: Spec, ms: float, offset: float) -> None:
        super().__init__(HostClock())
        self.makers, self.spec, self.ms, self.offset = makers, spec, ms, offset
        self.runs = 0

    def device_ms(self) -> float:
        self.runs += 1
        self.makers.happen("run", self.spec)
        return self.ms

    def host_ms(self, image_nhwc: NDArray[np.uint8]) -> float:
        self.run(image_nhwc)
        return 2 * self.ms

    def device_answer(self) -> Outputs:
        if self.runs > 5:  # after the rounds
            self.makers.happen("after", self.spec)
        return self.answer()

    def run(self, image_nhwc: NDArray[np.uint8]) -> Outputs:
        assert image_nhwc is self.makers.canary.image
        return self.answer()

    def answer(self) -> Outputs:
        logits = self.makers.canary.logits[""] + np.float32(self.offset)
        return {"mask": mask_from_logits(logits, 0.5), "logits": logits}

    def close(self) -> None:
        self.makers.opened.remove(self)


@dataclass
class FakeMakers:
    """`room`: contestants that fit together. `events`: what happens to whom at which step, such as an exception.

    Steps: check, prepare, open, run, after (the rounds).
    """

    room: int = 100
    events: dict[tuple[str, str], Callable[[], None]] = field(default_factory=dict)
    ms: Mapping[str, float] = field(default_factory=dict)
    offsets: Mapping[str, float] = field(default_factory=dict)
    is_lost: bool = False
    log: list[str] = field(default_factory=list)
    opened: list[FakeContestant] = field(default_factory=list)
    canary: Canary = field(default_factory=make_canary)

    @property
    def thresholds(self) -> Mapping[str, float]:
        return {"": 0.5}

    def happen(self, step: str, spec: Spec) -> None:
        if step != "run":
            self.log.append(f"{step} {spec.name}")
        self.events.get((step, spec.name), lambda: None)()

    def check(self, spec: Spec) -> None:
        self.happen("check", spec)

    def provide(self, spec: Spec) -> None:
        pass

    def prepare(self, spec: Spec) -> Open:
        assert not self.opened, "prepared while others use the device"
        self.happen("prepare", spec)
        return lambda: self.open(spec)

    def open(self, spec: Spec) -> Contestant:
        self.happen("open", spec)
        if len(self.opened) >= self.room:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")
        contestant = FakeContestant(self, spec, self.ms.get(spec.name, 1.0), self.offsets.get(spec.name, 0.0))
        self.opened.append(contestant)
        return contestant

    def works(self) -> bool:
        return not self.is_lost

    def trim(self) -> None:
        self.log.append("trim")

    def release(self) -> None:
        assert not self.opened, "released while contestants are open"
        self.log.append("release")


def fail(error: BaseException) -> Callable[[], None]:
    def raise_it() -> None:
        raise error

    return raise_it


def missing(name: str) -> Callable[[], None]:
    return fail(MissingComponent(f"{name} is not installed; pip install {name}"))


def run_case(
    makers: FakeMakers,
    specs: list[Spec],
    result: CaseResult = EMPTY,
    *,
    deadlines: Deadlines = NO_LIMIT,
    save: Callable[[CaseResult], None] = lambda _: None,
    now: Callable[[], float] = lambda: 0.0,
) -> CaseResult:
    progress = Progress(lambda _: None)
    return CaseRun(result, makers, OPTIONS, deadlines, {"torch": "2.13"}, save, progress, now).run(specs)
