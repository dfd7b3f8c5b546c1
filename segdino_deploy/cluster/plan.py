"""The images of a cluster's run and where their results go, and the pieces of work that its actors get."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from segdino_deploy.cluster.stores import Store, check_place, local_path
from segdino_deploy.folders.collisions import refuse_collisions
from segdino_deploy.folders.jobs import Jobs, names_of, plan_jobs, result_names
from segdino_deploy.progress import OnStep, ignore

MAX_IMAGES_PER_TASK = 64  # what is done again, at most, where a worker dies
TASKS_PER_ACTOR = 4  # at least, so that no actor waits long for the last one


@dataclass(frozen=True)
class Task:
    """Consecutive images: a whole number of the engine's batches."""

    first: int  # index of the first image
    names: list[str]
    sources: list[str]  # places, as fsspec takes them

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Task:
        return cls(**json.loads(text))


class ClusterPlan:
    """Jobs by name, the place of each image, and the place of the results."""

    def __init__(self, inputs: Sequence[str], output: str, heads: Sequence[str], on_note: OnStep = ignore) -> None:
        """As `plan_jobs`. Raises InputError as it does, and for places that cannot be listed."""
        for place in (*inputs, output):
            check_place(place)
        local_inputs = [path.absolute() for place in inputs if (path := local_path(place)) is not None]
        local_output = local_path(output)
        self.is_local = len(local_inputs) == len(inputs) and local_output is not None
        if self.is_local and local_output is not None:
            self.output = str(local_output.absolute())
            self.jobs = plan_jobs(local_inputs, Path(self.output), heads, on_note)
            self.source: Callable[[int], str] = self.jobs.source  # the place of an image
            return
        self.output = output.rstrip("/") if local_output is None else _url_of(local_output)
        listed = [_list(place, self.output, on_note) for place in inputs]
        self.jobs = Jobs(Path(), heads, [(Path(), names) for _, names in listed])
        folders = [(folder, len(names)) for folder, names in listed]
        self.source = lambda index: f"{_folder_of(folders, index)}/{self.jobs.name(index)}"
        indices = range(len(self.jobs))
        refuse_collisions(
            lambda: (self.source(index) for index in indices),
            lambda: ((index, self.result(name)) for index in indices for name in self._results_of(index)),
            self.source,
        )

    def tasks(self, batch_size: int, actors: int, is_done: Callable[[int], bool]) -> Iterator[Task]:
        """Those with an image that is not done."""
        even = -(-len(self.jobs) // (TASKS_PER_ACTOR * actors))
        batches = max(1, -(-min(MAX_IMAGES_PER_TASK, even) // batch_size))
        size = batches * batch_size
        for start in range(0, len(self.jobs), size):
            indices = range(start, min(start + size, len(self.jobs)))
            if not all(is_done(index) for index in indices):
                yield Task(start, [self.jobs.name(i) for i in indices], [self.source(i) for i in indices])

    def result(self, name: str) -> str:
        """The place of a result."""
        return f"{self.output}/{name}"

    def result_names(self) -> Iterator[str]:
        """Of all results, below the output place."""
        return (name for index in range(len(self.jobs)) for name in self._results_of(index))

    def _results_of(self, index: int) -> list[str]:
        return [name for head in self.jobs.heads for name in result_names(self.jobs.name(index), head)]


def _list(place: str, output: str, on_note: OnStep) -> tuple[str, list[str]]:
    """The place of an input's folder, and the names of its images."""
    path, local_output = local_path(place), local_path(output)
    if path is None:
        return Store(place).list_images(Store(output), on_note)
    folder, names = names_of(path.absolute(), local_output, on_note)
    return _url_of(folder), names


def _url_of(path: Path) -> str:
    return f"file://{path.absolute()}"


def _folder_of(folders: Sequence[tuple[str, int]], index: int) -> str:
    for folder, count in folders:
        if index < count:
            return folder
        index -= count
    raise IndexError(index)
