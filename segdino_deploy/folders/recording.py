"""What a run tells while it goes on and in the end, on one machine or on many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

from segdino_deploy.folders.journal import Journal
from segdino_deploy.folders.records import ImageResult
from segdino_deploy.progress import OnCount, OnStep, ignore

MAX_LISTED = 1000  # images whose results a summary keeps


@dataclass
class Summary:
    """What became of a run's images."""

    images: int
    done: int = 0
    failed: int = 0
    resumed: int = 0  # of those done, by an earlier run
    tiled: int = 0  # of those done, by this run
    seconds: float = 0.0
    first_failure: str = ""
    listed: list[ImageResult] = field(default_factory=list)  # every image of runs below `MAX_LISTED` images

    @property
    def images_per_second(self) -> float:
        """Of those that this run has done."""
        return self.done_now / self.seconds if self.seconds else 0.0

    @property
    def done_now(self) -> int:
        """By this run."""
        return self.done - self.resumed


@dataclass(frozen=True)
class Reports:
    """Whom a run tells what."""

    on_image: OnCount = ignore
    on_failure: Callable[[str], None] = ignore  # the reason, with the image's name
    on_note: OnStep = ignore


class Recorder:
    """Takes results into the journal and the summary."""

    def __init__(self, journal: Journal, images: int, resume: bool, reports: Reports) -> None:
        self._journal, self._resume, self._reports = journal, resume, reports
        self._start = perf_counter()
        self.summary = Summary(images, done=journal.resumed, resumed=journal.resumed)

    def begin(self) -> None:
        """Call it when everything is ready, before the first result is written."""
        self._journal.begin()
        if self._journal.could_go_on:
            path = self._journal.path
            self._reports.on_note(f"{path}: of a run that left images out; --resume would have gone on with it")

    def add(self, index: int, result: ImageResult) -> None:
        """Call it when the image's files are in place."""
        summary = self.summary
        self._journal.add(index, result)
        if result.status == "failed":
            summary.failed += 1
            summary.first_failure = summary.first_failure or result.error
            self._reports.on_failure(result.error)
        else:
            summary.done += 1
            summary.tiled += result.is_tiled
        self._reports.on_image(summary.done + summary.failed, summary.images)

    def finish(self) -> Summary:
        """After the table. The journal stays where there is something to go on with, or may be."""
        if self.summary.images < MAX_LISTED:
            self.summary.listed = list(self._journal.results())
        if not self.summary.failed and not self._resume:
            self._journal.remove()
        self.summary.seconds = perf_counter() - self._start
        return self.summary
