"""Decode, run, finish: threads around one engine, with only so many images between them.

Threads, not processes: Pillow releases Python's lock while it decodes, resizes and encodes, numpy while it computes
(a thread that wakes every millisecond is not held up by any of them), and nothing is copied between processes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.engines.run.contract import Runner, run_padded
from segdino_deploy.errors import SegdinoDeployError
from segdino_deploy.evidence import masks_from_outputs
from segdino_deploy.folders.aside import Aside, AsideImage, segment_aside
from segdino_deploy.folders.files import Files, LocalFiles
from segdino_deploy.folders.image import Decoded, decode_image, failed_result, finish_image
from segdino_deploy.folders.jobs import Job, Jobs
from segdino_deploy.folders.options import FolderOptions
from segdino_deploy.folders.reading import ImageFailed, reading, unwritable
from segdino_deploy.folders.records import ImageResult
from segdino_deploy.images import read_rgb

UInt8 = NDArray[np.uint8]
# Of decoded images that wait for their overlays; beyond, they are decoded a second time. As sizes are known only when
# images are decoded, one for each worker may come on top, beside the one that it has in hand.
MAX_HELD_BYTES = 512 << 20

OnResult = Callable[[int, ImageResult], None]  # index of the job, and what became of it
Loaded = Decoded | AsideImage | ImageResult  # the last: it failed
Chunk = list[tuple[int, Future[Loaded]]]


def segment_jobs(
    runner: Runner,
    jobs: Jobs,
    options: FolderOptions,
    on_result: OnResult,
    is_done: Callable[[int], bool] = lambda _: False,
    aside: Aside | None = None,
    files: Files | None = None,
) -> None:
    """Writes the results of every job that is not done, each file whole or not at all; reports them in order.

    Images that cannot be read are reported as failed. What concerns all of them ends the run: no space left, no
    permission to write, an engine that fails. Then, as on Ctrl-C, files that are being written are finished and
    reported, and the error goes on to the caller.
    """
    pipeline = _Pipeline(runner, jobs, options, on_result, is_done, aside, files or LocalFiles(jobs.output))
    try:
        pipeline.run()
    except BaseException:
        pipeline.stop()
        raise


@dataclass
class _Held:
    """Bytes of decoded images in memory."""

    size_bytes: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def add(self, size_bytes: int) -> None:
        with self._lock:
            self.size_bytes += size_bytes

    @property
    def is_full(self) -> bool:
        return self.size_bytes >= MAX_HELD_BYTES


class _Pipeline:
    """All methods but those that the pool calls run in the thread that drives the engine."""

    def __init__(
        self,
        runner: Runner,
        jobs: Jobs,
        options: FolderOptions,
        on_result: OnResult,
        is_done: Callable[[int], bool],
        aside: Aside | None,
        files: Files,
    ) -> None:
        self._runner, self._jobs, self._options = runner, jobs, options
        self._on_result, self._is_done, self._aside, self._files = on_result, is_done, aside, files
        workers, self._batch_size = options.num_workers, options.batch_for(runner.card)
        self._chunks_ahead = max(2, -(-2 * workers // self._batch_size) + 1)  # being decoded while the engine runs
        self._max_finishing = 2 * (workers + self._batch_size)  # images whose results are being written
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="segdino-folder")
        self._loading: deque[Chunk] = deque()
        self._finishing: deque[tuple[int, Future[ImageResult]]] = deque()  # in the order of the jobs
        self._held = _Held()

    def run(self) -> None:
        chunks = self._chunks()
        is_more = True
        while is_more or self._loading:
            while is_more and len(self._loading) < self._chunks_ahead and not (self._loading and self._held.is_full):
                is_more = self._load_next(chunks)
            if self._loading:
                self._run_chunk(self._loading.popleft())
            self._report(self._max_finishing)
        self._report(0)
        self._pool.shutdown()

    def stop(self) -> None:
        """After an error or Ctrl-C: what has begun is finished, what is finished is reported."""
        self._pool.shutdown(cancel_futures=True)
        with suppress(SegdinoDeployError):  # the first error is the one to tell
            for index, future in self._finishing:
                if not future.cancelled() and future.exception() is None:
                    self._on_result(index, future.result())

    def _chunks(self) -> Iterator[list[int]]:
        """The same batches however often a run was interrupted, for an image's last bits may depend on its batch."""
        for start in range(0, len(self._jobs), self._batch_size):
            chunk = list(range(start, min(start + self._batch_size, len(self._jobs))))
            if not all(self._is_done(index) for index in chunk):
                yield chunk

    def _load_next(self, chunks: Iterator[list[int]]) -> bool:
        chunk = next(chunks, None)
        if chunk is None:
            return False
        self._loading.append([(index, self._pool.submit(self._load, index)) for index in chunk])
        return True

    def _load(self, index: int) -> Loaded:
        """In a worker."""
        job = self._jobs[index]
        place = self._files.place(job)
        try:
            with reading(place):
                taken = self._aside.open(job) if self._aside is not None else None
                if taken is not None:
                    return taken
                with self._files.local_copy(job) as path:
                    return self._decode(job, path, self._options.overlay and not self._is_done(index))
        except ImageFailed as error:
            return failed_result(job.name, error)

    def _decode(self, job: Job, path: Path, keeps_source: bool) -> Loaded:
        try:
            decoded = decode_image(path, job.name, self._runner.card, keeps_source and not self._held.is_full)
        except ImageFailed as error:
            return failed_result(job.name, self._of_place(job, path, error), path)
        if decoded.source is not None:
            self._held.add(decoded.source.nbytes)
        return decoded

    def _of_place(self, job: Job, path: Path, error: ImageFailed) -> ImageFailed:
        """The error of a local copy, about the image itself."""
        return ImageFailed(str(error).replace(str(path), self._files.place(job)))

    def _run_chunk(self, chunk: Chunk) -> None:
        """The engine on one batch; its masks go to the workers."""
        loaded = [(index, future.result()) for index, future in reversed(chunk)]
        chunk.clear()  # a future keeps its image, and images that were taken aside may grow while they are segmented
        batch = [(index, item) for index, item in reversed(loaded) if isinstance(item, Decoded)]
        masks: dict[str, UInt8] = {}
        run_ms = 0.0
        if batch:
            start = perf_counter()
            outputs = run_padded(self._runner, np.stack([decoded.sized for _, decoded in batch]))  # [M, H, W, 3]
            masks = masks_from_outputs(outputs, self._runner.card.thresholds)
            run_ms = (perf_counter() - start) * 1e3 / len(batch)
        rows = {index: row for row, (index, _) in enumerate(batch)}
        del batch
        while loaded:
            index, item = loaded.pop()
            if self._is_done(index):  # by an earlier run that did not come to the end of this batch
                continue
            if isinstance(item, Decoded):
                of_image = {head: of_batch[rows[index]] for head, of_batch in masks.items()}
                future = self._pool.submit(self._finish, self._jobs[index], item, of_image, run_ms)
            else:
                future = _completed(item if isinstance(item, ImageResult) else self._run_aside(index, item))
            self._finishing.append((index, future))

    def _run_aside(self, index: int, image: AsideImage) -> ImageResult:
        job = self._jobs[index]
        try:
            return segment_aside(image, job, self._jobs.output, self._runner, self._options.overlay)
        except ImageFailed as error:
            return failed_result(job.name, error, job.image)

    def _finish(self, job: Job, decoded: Decoded, masks: dict[str, UInt8], run_ms: float) -> ImageResult:
        """In a worker: files first, then the result, which says that they are in place."""
        start = perf_counter()
        try:
            source = self._source_of(job, decoded) if self._options.overlay else None
            finished = finish_image(job.name, decoded, masks, run_ms, self._runner.card, source)
            self._write(job, finished.files)
        except ImageFailed as error:
            return failed_result(job.name, error)
        finally:
            if decoded.source is not None:
                self._held.add(-decoded.source.nbytes)
        return finished.result.model_copy(update={"finish_ms": round((perf_counter() - start) * 1e3, 3)})

    def _source_of(self, job: Job, decoded: Decoded) -> UInt8:
        """The image at its own size, decoded again where too many were in memory."""
        if decoded.source is not None:
            return decoded.source
        with reading(self._files.place(job)), self._files.local_copy(job) as path:
            try:
                with reading(path):
                    source = read_rgb(path)
            except ImageFailed as error:
                raise self._of_place(job, path, error) from error
        if source.shape[:2] != (decoded.result.height, decoded.result.width):
            raise ImageFailed(f"{self._files.place(job)}: was exchanged while it was being segmented; run again")
        return source

    def _write(self, job: Job, files: dict[str, bytes]) -> None:
        """Every file of the image, or none where its names are the trouble."""
        try:
            for name, content in files.items():
                self._files.write(name, content)
        except OSError as error:  # such as a name that is too long; what concerns all images is no OSError any more
            for name in files:
                with suppress(OSError):
                    self._files.remove(name)
            raise unwritable(self._files.place(job), error) from error

    def _report(self, allowed: int) -> None:
        """Reports what is finished, in order, and waits until no more than `allowed` images are being finished."""
        while self._finishing and (len(self._finishing) > allowed or self._finishing[0][1].done()):
            index, future = self._finishing[0]
            result = future.result()
            self._finishing.popleft()
            self._on_result(index, result)


def _completed(result: ImageResult) -> Future[ImageResult]:
    future: Future[ImageResult] = Future()
    future.set_result(result)
    return future
