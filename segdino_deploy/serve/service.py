"""What the endpoints share: the models behind their queues, the limits and a few threads for image files."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from segdino_deploy.errors import InputError
from segdino_deploy.machine import usable_threads
from segdino_deploy.serve.batching import Batcher, BatchOptions
from segdino_deploy.serve.metrics import Metrics
from segdino_deploy.serve.model import OpenModel, parallel_calls
from segdino_deploy.serve.options import ServeOptions
from segdino_deploy.serve.wire import JSON_ALLOWANCE

MAX_DECODERS = 4  # image files that are decoded at the same time: each takes up to 18 bytes for every pixel
DEFAULT_REQUEST_BYTES = 16 * 2**20
T = TypeVar("T")


class Decoders:
    """What waits for a thread waits here, where it can be given up: a pool would keep it, with the image, in its queue.

    A thread finishes what it has begun; until then its place is taken, whether anybody waits for the result or not.
    """

    def __init__(self, count: int) -> None:
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="image")
        self._free = asyncio.Semaphore(count)

    async def run(self, function: Callable[[], T]) -> T:
        """What `function` returns or raises, on one of the threads."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        work = self._threads.submit(function)
        work.add_done_callback(lambda _: loop.call_soon_threadsafe(self._free.release))
        return await asyncio.wrap_future(work)

    def shutdown(self) -> None:
        """Waits for the threads. The loop must be there still."""
        self._threads.shutdown()


class Service:
    """Models by name. InputError where the options do not fit one of them."""

    def __init__(self, models: Mapping[str, OpenModel], options: ServeOptions) -> None:
        self.models = models
        self.options = options
        self.metrics = Metrics()
        self.batchers = {name: self._batcher(model) for name, model in models.items()}
        self.max_request_bytes = {name: self._request_bytes(model) for name, model in models.items()}
        self.decoders = Decoders(min(MAX_DECODERS, usable_threads()))

    def _batcher(self, model: OpenModel) -> Batcher:
        card, options = model.runner.card, self.options
        max_batch = card.batch.max if options.max_batch is None else options.max_batch
        if max_batch > card.batch.max:
            raise InputError(f"--max-batch: {max_batch} is more than {model.name} takes, which is {card.batch.max}")
        batching = BatchOptions(
            max_batch,
            options.batch_delay_ms / 1e3,
            max_requests=options.max_queue,
            max_images=max(options.max_queue, card.batch.max),  # what the model's configuration offers is taken
            workers=parallel_calls(model.runner),
        )
        return Batcher(model.name, model.runner, batching, self.metrics)

    def _request_bytes(self, model: OpenModel) -> int:
        """Of the largest request. The largest batch that the model's configuration offers has to go in."""
        card, given_mib = model.runner.card, self.options.max_request_mib
        batch_bytes = card.batch.max * card.input_size[0] * card.input_size[1] * 3 + JSON_ALLOWANCE
        if given_mib is None:
            return max(DEFAULT_REQUEST_BYTES, batch_bytes)
        if given_mib * 2**20 < batch_bytes:
            raise InputError(
                f"--max-request-mib: {given_mib:g} is less than a batch of {card.batch.max}, which {model.name} takes: "
                f"give {math.ceil(batch_bytes / 2**20 * 10) / 10:g} or more, or leave it out"
            )
        return int(given_mib * 2**20)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.callback(self.decoders.shutdown)
            for batcher in self.batchers.values():
                await stack.enter_async_context(batcher)
            yield
