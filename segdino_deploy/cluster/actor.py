"""What runs on a cluster's nodes: one engine, and the pipeline of folders around it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdino_deploy.atomic import disk_errors, sha256_of
from segdino_deploy.bundle import MANIFEST
from segdino_deploy.cluster.plan import Task
from segdino_deploy.cluster.stores import StoreFiles
from segdino_deploy.engines.run import open_engine
from segdino_deploy.engines.run.contract import Runner
from segdino_deploy.errors import InputError, MissingComponent, SegdinoDeployError
from segdino_deploy.folders.image import failed_result
from segdino_deploy.folders.jobs import Jobs
from segdino_deploy.folders.options import FolderOptions
from segdino_deploy.folders.pipeline import segment_jobs
from segdino_deploy.folders.records import ImageResult

ERRORS: dict[str, type[SegdinoDeployError]] = {
    kind.__name__: kind for kind in (SegdinoDeployError, InputError, MissingComponent)
}


@dataclass(frozen=True)
class ActorOptions:
    """The same for all actors of a run."""

    bundle: str  # path on the machine that started the run; nodes that have it there open it
    manifest_sha256: str
    engine: str  # of that bundle: the file's name
    backend: str
    precision: str
    threads: int
    output: str
    batch_size: int
    overlay: bool


class Attempts:
    """An actor that outlives the others, and knows how often each task was begun."""

    def __init__(self, allowed: int, reference: object = None) -> None:
        """`reference`: what Ray warns of; see where this is started."""
        del reference
        self._allowed = allowed
        self._begun: dict[int, int] = {}

    def begin(self, first: int) -> bool:
        """Whether the task may be tried, once more."""
        self._begun[first] = self._begun.get(first, 0) + 1
        return self._begun[first] <= self._allowed


class Segmenter:
    """An actor. Its engine is opened with the first task, so that a node that cannot open it says why."""

    def __init__(self, options: ActorOptions, files: Any, attempts: Any) -> None:
        """`files`: reference of the bundle's files in Ray's object store, for nodes without the path. `attempts`: the
        handle of an `Attempts`.
        """
        self._options = options
        self._files = files
        self._attempts = attempts
        self._runner: Runner | None = None

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """`{"task": JSON}` to `{"first": index, "results": JSON of [position, result] pairs, "error": JSON}`; the error
        that ends the run as its class and text, or empty.
        """
        import ray

        task = Task.from_json(str(row["task"]))
        if not ray.get(self._attempts.begin.remote(task.first)):
            return {"first": task.first, "results": json.dumps(_given_up(task)), "error": ""}
        results: list[tuple[int, dict[str, Any]]] = []
        failure = ""
        try:
            self._segment(task, results)
        except SegdinoDeployError as error:  # what ends the run; Ray would wrap it in pages of its own
            kind = next(name for name in reversed(ERRORS) if isinstance(error, ERRORS[name]))
            failure = json.dumps([kind, str(error)])
        return {"first": task.first, "results": json.dumps(results), "error": failure}

    def _segment(self, task: Task, results: list[tuple[int, dict[str, Any]]]) -> None:
        if self._runner is None:
            self._runner = self._open()
        options = self._options
        heads = [head.name for head in self._runner.card.heads]
        jobs = Jobs(Path(), heads, [(Path(), task.names)])
        files = StoreFiles(dict(zip(task.names, task.sources, strict=True)), options.output)
        settings = FolderOptions(max(2, options.threads), options.batch_size, options.overlay)

        def on_result(position: int, result: ImageResult) -> None:
            results.append((position, result.model_dump(mode="json")))

        segment_jobs(self._runner, jobs, settings, on_result, files=files)

    def _open(self) -> Runner:
        path = Path(self._options.bundle)
        if (path / MANIFEST).is_file() and sha256_of(path / MANIFEST) == self._options.manifest_sha256:
            return self._open_in(path)
        with _unpacked(self._files) as path:  # of which an engine that is open needs nothing any more
            return self._open_in(path)

    def _open_in(self, bundle: Path) -> Runner:
        options = self._options
        return open_engine(
            bundle / options.engine, precision=options.precision, backend=options.backend, threads=options.threads
        )


def _given_up(task: Task) -> list[tuple[int, dict[str, Any]]]:
    """Every image of a task failed, for nobody knows which one it is."""
    reason = "every worker died that had this image or one of its neighbours; segment it alone, without --ray"
    return [
        (position, failed_result(name, InputError(f"{source}: {reason}")).model_dump(mode="json"))
        for position, (name, source) in enumerate(zip(task.names, task.sources, strict=True))
    ]


@contextmanager
def _unpacked(files: Any) -> Iterator[Path]:
    """The bundle as a folder of this node."""
    import ray

    with ExitStack() as stack:
        with disk_errors(Path(tempfile.gettempdir()) / "segdino-bundle-..."):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="segdino-bundle-")))
        for name, content in ray.get(files[0]).items():
            with disk_errors(folder / name):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
        yield folder
