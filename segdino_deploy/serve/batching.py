"""Requests that come at the same time run together; those that would wait too long are refused.

Everything but the engine's calls happens on the event loop's thread, so that nothing needs a lock.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from time import perf_counter
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.engines.run.contract import Array, Runner, run_padded
from segdino_deploy.errors import InputError
from segdino_deploy.serve.metrics import Metrics
from segdino_deploy.serve.refusals import Overloaded

log = logging.getLogger(__name__)
UInt8 = NDArray[np.uint8]
Outputs = dict[str, Array]
T = TypeVar("T")


@dataclass(frozen=True)
class BatchOptions:
    max_batch: int  # images in one call
    delay_seconds: float  # that the first image of a batch waits for others
    max_requests: int  # from arrival to answer
    max_images: int  # the same
    workers: int = 1  # calls at the same time


@dataclass(eq=False)
class _Job:
    """The images of one request, [N, H, W, 3], that may run in pieces and together with others'."""

    images: UInt8
    arrived: float
    answer: asyncio.Future[Outputs]
    taken: int = 0  # images that run or have run
    pieces: dict[int, Outputs] = field(default_factory=dict)  # by the number of their first image


@dataclass(frozen=True)
class _Slice:
    job: _Job
    start: int
    stop: int


class Batcher:
    """One engine and its queue. An asynchronous context manager: inside it the engine's threads run."""

    def __init__(self, name: str, runner: Runner, options: BatchOptions, metrics: Metrics) -> None:
        self._name = name
        self._runner = runner
        self._options = options
        self._metrics = metrics
        self._held_requests = 0
        self._held_images = 0
        self._jobs: deque[_Job] = deque()  # with images that nobody has taken yet
        self._came = asyncio.Event()
        metrics.held_requests.labels(name).set_function(lambda: self._held_requests)
        metrics.queue_images.labels(name).set_function(self._waiting_images)

    async def __aenter__(self) -> Batcher:
        self._threads = ThreadPoolExecutor(self._options.workers, thread_name_prefix=f"engine-{self._name}")
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._options.workers)]
        for worker in self._workers:
            worker.add_done_callback(self._tell_end)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._threads.shutdown()

    @property
    def is_working(self) -> bool:
        """Whether requests are run. They always should be; where not, only another start helps."""
        return not any(worker.done() for worker in self._workers)

    def _tell_end(self, worker: asyncio.Task[None]) -> None:
        if not worker.cancelled():
            log.error("%s: takes no more requests", self._name, exc_info=worker.exception())

    @contextmanager
    def admit(self) -> Iterator[None]:
        """A place for one request, which it needs before its body is read: that bounds the memory. Overloaded."""
        if self._held_requests >= self._options.max_requests:
            raise self.refusal("full", f"{self._held_requests} requests are being worked on")
        self._held_requests += 1
        try:
            yield
        finally:
            self._held_requests -= 1

    async def within(self, deadline_seconds: float, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns, or Overloaded where that takes longer; then it is cancelled."""
        try:
            return await asyncio.wait_for(work, deadline_seconds)
        except asyncio.TimeoutError:
            raise self.refusal("deadline", f"no answer within {deadline_seconds:g} s") from None

    async def run(self, images: UInt8) -> Outputs:
        """uint8 `[N, H, W, 3]`, any N, to the engine's outputs `[N, ...]`.

        Whoever stops waiting, by cancelling, is not run any more. Raises Overloaded: no place for N images; InputError:
        N can never have a place; what the engine raises.
        """
        count, most = len(images), self._options.max_images
        if count > most:
            raise InputError(f"{count} images in one request: this server takes {most} at most")
        if self._held_images + count > most:
            raise self.refusal("full", f"{self._held_images} images are being worked on")
        loop = asyncio.get_running_loop()
        job = _Job(images, loop.time(), loop.create_future())
        self._held_images += count
        self._jobs.append(job)
        self._came.set()
        try:
            return await job.answer
        finally:
            self._held_images -= count
            self._forget(job)

    def refusal(self, reason: str, text: str) -> Overloaded:
        """Counted."""
        self._metrics.shed.labels(self._name, reason).inc()
        return Overloaded(f"{self._name}: {text}; try again")

    def _waiting_images(self) -> int:
        return sum(len(job.images) - job.taken for job in self._jobs)

    def _forget(self, job: _Job) -> None:
        """What is left of it is not run."""
        if job.taken < len(job.images):
            self._jobs.remove(job)
            job.taken = len(job.images)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._next_batch()
            try:
                images = [piece.job.images[piece.start : piece.stop] for piece in batch]
                outputs = await loop.run_in_executor(self._threads, self._run, images)
                _deliver(batch, outputs)
            except Exception as error:  # the engine's, too little memory: it is the answer, and the worker goes on
                for piece in batch:
                    self._forget(piece.job)
                    if not piece.job.answer.done():
                        piece.job.answer.set_exception(error)

    async def _next_batch(self) -> list[_Slice]:
        """Waits for a first image, and then for others until the batch is full or the first one has waited enough."""
        clock = asyncio.get_running_loop().time
        while True:
            while not self._jobs:
                self._came.clear()
                await self._came.wait()
            left = self._jobs[0].arrived + self._options.delay_seconds - clock()
            if left <= 0 or self._waiting_images() >= self._options.max_batch:
                return self._take()
            self._came.clear()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._came.wait(), left)

    def _take(self) -> list[_Slice]:
        """The next images, the oldest first; those of one request may be shared out over several batches."""
        batch: list[_Slice] = []
        room = self._options.max_batch
        while room and self._jobs:
            job = self._jobs[0]
            stop = min(len(job.images), job.taken + room)
            batch.append(_Slice(job, job.taken, stop))
            room -= stop - job.taken
            job.taken = stop
            if stop == len(job.images):
                self._jobs.popleft()
        return batch

    def _run(self, pieces: list[UInt8]) -> Outputs:
        """On a thread of its own: the engine's call, and nothing that the event loop sees."""
        images = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        began = perf_counter()
        outputs = run_padded(self._runner, images)
        self._metrics.engine_seconds.labels(self._name).observe(perf_counter() - began)
        self._metrics.batch_images.labels(self._name).observe(len(images))
        return outputs


def _deliver(batch: list[_Slice], outputs: Outputs) -> None:
    """Each piece of a batch gets its part of what the engine gave."""
    begin = 0
    for piece in batch:
        end = begin + piece.stop - piece.start
        _add(piece, {name: array[begin:end] for name, array in outputs.items()})
        begin = end


def _add(piece: _Slice, outputs: Outputs) -> None:
    """Answers the request with its last piece."""
    job = piece.job
    job.pieces[piece.start] = outputs
    if job.answer.done() or sum(len(next(iter(o.values()))) for o in job.pieces.values()) < len(job.images):
        return
    parts = [job.pieces[start] for start in sorted(job.pieces)]
    whole = parts[0] if len(parts) == 1 else {name: np.concatenate([part[name] for part in parts]) for name in outputs}
    job.answer.set_result(whole)
