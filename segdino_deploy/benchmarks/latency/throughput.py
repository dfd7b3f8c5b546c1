"""Images per second of callers in several threads that share one engine.

A closed loop: each caller sends its next batch when it has its masks, and not before. They start together, and what is
counted are the calls that end inside the window that opens then. Engines are measured one after the other, never in
interleaved rounds as latency is: a machine that drifts in between does not slow all of them alike.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.benchmarks.latency.self_timed import SelfTimedRunner
from segdino_deploy.benchmarks.latency.summary import summarise
from segdino_deploy.benchmarks.result import Throughput
from segdino_deploy.engines.run import Runner
from segdino_deploy.errors import InputError, one_line
from segdino_deploy.export.graph import INPUT
from segdino_deploy.manifest import ModelCard
from segdino_deploy.progress import OnStage, ignore

STAGE = "throughput"
CALLS_AT_LEAST = 2  # of every caller, however slow the engine and short the window
WARMUP_CALLS = 1  # of every caller, all at once, as kernels and buffers may depend on the batch and on the thread
BATCHES = 4  # different ones, of each size; large batches of large images fill the memory

UInt8 = NDArray[np.uint8]
Call = tuple[float, float]  # seconds: when it began and when it ended


def measure_throughput(
    runner: Runner,
    images: Sequence[UInt8],
    batch_sizes: Sequence[int],
    callers: Sequence[int],
    seconds: float,
    on_progress: OnStage = ignore,
) -> list[Throughput]:
    """One result for each batch size with each number of callers.

    `images`: uint8 arrays `[n, H, W, 3]`, whose images fill the batches. `seconds`: of one window, which stays open
    until every caller has had `CALLS_AT_LEAST` calls. An error of one caller ends the measurement with that error.
    Raises InputError for a batch that the model does not take, naming those that it takes.
    """
    check_batch_sizes(runner.card, batch_sizes)
    if not callers or min(callers) < 1 or not seconds > 0:
        raise InputError(f"throughput: {list(callers)} callers for {seconds} s; at least one caller, for more than 0 s")
    pixels = np.concatenate(list(images))  # [M, H, W, 3]
    results: list[Throughput] = []
    for batch in batch_sizes:
        batches = fill_batches(pixels, batch)

        def send(index: int, batches: list[UInt8] = batches) -> object:
            return runner.run({INPUT: batches[index % len(batches)]})

        for number in callers:
            if isinstance(runner, SelfTimedRunner):
                window = Window(seconds, runner.call(batches, number, seconds))
            else:
                window = run_callers(send, number, seconds)
            results.append(_result(window, batch))
            on_progress(STAGE, len(results), len(batch_sizes) * len(callers))
    return results


def check_batch_sizes(card: ModelCard, batch_sizes: Sequence[int]) -> None:
    """InputError, with the range, where the model does not take one of them."""
    taken = card.batch
    says = f"{taken.min} only" if taken.is_fixed else f"{taken.min} to {taken.max}"
    for batch in batch_sizes:
        if not taken.min <= batch <= taken.max:
            raise InputError(
                f"throughput: batch of {batch}: this model takes {says}; export it with another --batch for more"
            )


def fill_batches(pixels: UInt8, batch: int) -> list[UInt8]:
    """Up to `BATCHES` batches `[batch, H, W, 3]`, each of which begins with another of the images `[M, H, W, 3]`."""
    order = np.arange(batch)
    return [pixels[(start + order) % len(pixels)] for start in range(min(BATCHES, len(pixels)))]


@dataclass
class Window:
    """What the callers did from `began` (seconds) on, call by call."""

    seconds: float
    calls: list[list[Call]]  # of each caller
    began: float = 0.0

    @property
    def ended(self) -> float:
        """After `seconds`, but not before every caller has had its calls."""
        return max(self.began + self.seconds, *(calls[CALLS_AT_LEAST - 1][1] for calls in self.calls))

    @property
    def counted_by_caller(self) -> list[list[Call]]:
        """Calls that ended inside: what was under way at the end is no result of it."""
        ended = self.ended
        return [[call for call in calls if call[1] <= ended] for calls in self.calls]

    @property
    def counted(self) -> list[Call]:
        return [call for calls in self.counted_by_caller for call in calls]

    @property
    def calls_per_second(self) -> float:
        """Sum of the callers' rates, each over the time up to the end of its own last call that counts.

        Over the whole window the part of a call that was cut off would count as time without an answer.
        """
        return sum(len(calls) / (calls[-1][1] - self.began) for calls in self.counted_by_caller)


def run_callers(send: Callable[[int], object], callers: int, seconds: float) -> Window:
    """Calls `send` in a closed loop in so many threads. Caller k's calls have the numbers k, k + 1 and so on.

    Raises what a caller raises, once the others' running calls are done, and InputError where the system does not give
    so many threads.
    """
    window = Window(seconds, [[] for _ in range(callers)])
    failed = threading.Event()

    def open_window() -> None:
        window.began = time.perf_counter()

    start = threading.Barrier(callers, action=open_window)

    def is_over() -> bool:
        is_late = time.perf_counter() >= window.began + seconds
        return failed.is_set() or (is_late and all(len(calls) >= CALLS_AT_LEAST for calls in window.calls))

    def give_up() -> None:
        failed.set()
        start.abort()

    def call(number: int) -> None:
        numbers = count(number)
        try:
            for _ in range(WARMUP_CALLS):
                send(next(numbers))
            start.wait()
            while not is_over():
                began = time.perf_counter()
                send(next(numbers))
                window.calls[number].append((began, time.perf_counter()))
        except BaseException:
            give_up()
            raise

    with ThreadPoolExecutor(callers) as threads:
        try:
            futures = [_submit(threads, call, number, callers) for number in range(callers)]
            errors = [error for future in futures if (error := future.exception()) is not None]
        except BaseException:  # an interrupt, or too few threads: the callers must neither go on nor wait for others
            give_up()
            raise
    if errors:
        # Those who found the start given up have only heard of another one's error.
        raise next((error for error in errors if not isinstance(error, threading.BrokenBarrierError)), errors[0])
    return window


def _submit(threads: ThreadPoolExecutor, call: Callable[[int], None], number: int, callers: int) -> Future[None]:
    try:
        return threads.submit(call, number)
    except RuntimeError as error:  # "can't start new thread"
        raise InputError(
            f"throughput: thread {number + 1} of {callers} callers: {one_line(error)}; measure with fewer callers"
        ) from error


def _result(window: Window, batch: int) -> Throughput:
    calls_ms = [(end - begin) * 1e3 for begin, end in window.counted]
    return Throughput(
        batch=batch,
        callers=len(window.calls),
        images_per_second=batch * window.calls_per_second,
        call=summarise(calls_ms, 1),
    )
