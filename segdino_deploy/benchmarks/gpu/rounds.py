"""The rounds: everybody once on the device and once from host memory, in turns, as often as there is time for."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.benchmarks.gpu.contestants.contract import Contestant
from segdino_deploy.progress import OnCount, ignore


@dataclass(frozen=True)
class RoundOptions:
    """`rounds` at most, after `warmup` ones that do not count; after `seconds` no more than `min_rounds`."""

    rounds: int
    min_rounds: int
    warmup: int
    seconds: float


@dataclass(frozen=True)
class Samples:
    """Milliseconds, one of each per round."""

    device_ms: list[float] = field(default_factory=list)
    host_ms: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Rounds:
    """Of those that ran to the end as many samples as there were rounds; of the others what stopped them."""

    samples: dict[str, Samples]
    failures: dict[str, Exception]


def run_rounds(
    contestants: Mapping[str, Contestant],
    image_nhwc: NDArray[np.uint8],
    options: RoundOptions,
    until: float,
    on_round: OnCount = ignore,
    now: Callable[[], float] = time.monotonic,
) -> Rounds:
    """Nobody always runs behind the same neighbour's other run: first all on the device, then all from host memory.

    The order rotates by one each round. Whoever fails leaves; the others go on. `until`: by `now`'s clock.
    """
    names = list(contestants)
    samples = {name: Samples() for name in names}
    failures: dict[str, Exception] = {}
    began = now()
    with _without_collections():
        for index in range(-options.warmup, options.rounds):
            is_over = now() >= until or now() - began > options.seconds
            if not names or (is_over and index >= options.min_rounds):
                break
            counts = index >= 0
            shift = index % len(names)
            order = names[shift:] + names[:shift]
            for on_device in (True, False):
                for name in order:
                    if name in failures:
                        continue
                    contestant = contestants[name]
                    try:
                        elapsed_ms = contestant.device_ms() if on_device else contestant.host_ms(image_nhwc)
                    except Exception as error:  # the runtimes' exceptions share no base
                        failures[name] = error.with_traceback(None)  # whose frames keep memory of the device
                        continue
                    if counts:
                        (samples[name].device_ms if on_device else samples[name].host_ms).append(elapsed_ms)
            names = [name for name in names if name not in failures]
            on_round(index + options.warmup + 1, options.rounds + options.warmup)
    return Rounds({name: samples[name] for name in names}, failures)


@contextmanager
def _without_collections() -> Iterator[None]:
    """Python's garbage collector would stop one of them at random for as long as a whole run."""
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
