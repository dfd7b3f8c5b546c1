"""A run over images on a cluster: tasks to actors, their results to a journal and a table."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from segdino_deploy import __version__
from segdino_deploy.atomic import sha256_of
from segdino_deploy.bundle import MANIFEST
from segdino_deploy.cluster.actor import ERRORS, ActorOptions, Attempts, Segmenter
from segdino_deploy.cluster.engine import Chosen
from segdino_deploy.cluster.options import LOCAL, RayOptions
from segdino_deploy.cluster.plan import ClusterPlan
from segdino_deploy.cluster.session import ray_session, without_stderr
from segdino_deploy.cluster.stores import Store, local_path
from segdino_deploy.errors import InputError, SegdinoDeployError, one_line
from segdino_deploy.folders.journal import Head, Journal
from segdino_deploy.folders.leftovers import remove_leftovers
from segdino_deploy.folders.options import FolderOptions
from segdino_deploy.folders.predict import engine_identity
from segdino_deploy.folders.recording import Recorder, Reports, Summary
from segdino_deploy.folders.records import ImageResult
from segdino_deploy.folders.table import check_form, check_table, write_table
from segdino_deploy.manifest import ModelCard

MAX_ATTEMPTS = 5  # at one task: Ray starts it again for ever, and an image may kill every worker that decodes it


def predict_on_ray(
    chosen: Chosen,
    plan: ClusterPlan,
    options: FolderOptions,
    cluster: RayOptions,
    *,
    table: str | None = None,
    resume: bool = False,
    reports: Reports = Reports(),
) -> Summary:
    """As `folders.predict.predict_folder`, with the same files, on a cluster. `resume` needs results on this machine.

    A worker that dies is started again by Ray, and its task with it; what it had written is written again.
    Raises what `predict_folder` raises; MissingComponent without Ray.
    """
    if resume and not plan.is_local:
        raise InputError("--resume: needs inputs and results in folders; leave it out for other stores")
    card = chosen.bundle.manifest.model
    batch_size = options.batch_for(card)
    if table is not None:
        path = local_path(table)
        check_table(path) if path is not None else check_form(table)
    chosen_options = {"--batch-size": str(batch_size), "--overlay": "yes" if options.overlay else "no"}
    engine = chosen.engine
    identity = engine_identity(chosen.bundle.path / engine.file, engine.backend, engine.precision)
    head = Head(tool_version=__version__, engine=chosen.words, engine_sha256=identity, options=chosen_options)
    actor_options = ActorOptions(
        bundle=str(chosen.bundle.path.absolute()),
        manifest_sha256=sha256_of(chosen.bundle.file(MANIFEST)),
        engine=engine.file,
        backend=engine.backend,
        precision=engine.precision,
        threads=cluster.cpus_per_actor,
        output=plan.output,
        batch_size=batch_size,
        overlay=options.overlay,
    )
    with ExitStack() as stack:
        folder = None
        if not plan.is_local:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="segdino-journal-")))
        journal = stack.enter_context(Journal(head, plan.jobs, resume, folder))
        recorder = Recorder(journal, len(plan.jobs), resume, reports)
        with _removing_leftovers(plan, reports), ray_session(cluster) as ray:
            resources = ray.cluster_resources()
            actors = cluster.actors_in(resources.get("CPU", 0), resources.get("GPU", 0))
            recorder.begin()
            reports.on_note(f"Ray at {cluster.address}: {actors} actor(s) with an engine each")
            for index, result in _results(ray, plan, actor_options, chosen, cluster, actors, journal.is_done):
                recorder.add(index, result)
        if table is not None:
            _write_table(table, journal, card)
        return recorder.finish()


def _results(
    ray: Any,
    plan: ClusterPlan,
    options: ActorOptions,
    chosen: Chosen,
    cluster: RayOptions,
    actors: int,
    is_done: Callable[[int], bool],
) -> Iterator[tuple[int, ImageResult]]:
    """Index and result of every image that was not done, in the order in which tasks end."""
    tasks = [{"task": task.to_json()} for task in plan.tasks(options.batch_size, actors, is_done)]
    if not tasks:
        return
    # In a list, for Ray would send to each actor what stands alone. Actors of this machine open the bundle itself.
    files = [] if cluster.address == LOCAL else [ray.put(chosen.read_files())]
    counting = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Attempts)
    # Ray warns once, past Python, of an actor that is given a reference and could not be started again without it. So
    # are all actors of Ray Data, which keeps what it gives them; this one takes the warning for them.
    reference = ray.put(None)
    with without_stderr():
        attempts = counting.remote(MAX_ATTEMPTS, reference)  # begins again at 0 where its own node dies
    rows = ray.data.from_items(tasks, override_num_blocks=len(tasks)).map(
        Segmenter,
        fn_constructor_args=(options, files, attempts),
        compute=ray.data.ActorPoolStrategy(size=min(actors, len(tasks))),
        num_cpus=cluster.cpus_per_actor,
        num_gpus=cluster.gpus_per_actor or None,
    )
    try:
        for row in rows.iter_rows():
            for position, fields in json.loads(row["results"]):
                index = int(row["first"]) + position
                if not is_done(index):
                    yield index, ImageResult.model_validate(fields)
            if row["error"]:
                kind, message = json.loads(row["error"])
                raise ERRORS[kind](message)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error  # what a worker raised, without Ray's account of where
        raise SegdinoDeployError(f"--ray {cluster.address}: {type(cause).__name__}: {one_line(cause)}") from error


@contextmanager
def _removing_leftovers(plan: ClusterPlan, reports: Reports) -> Iterator[None]:
    """However the session ends."""
    try:
        yield
    finally:
        try:
            _remove_leftovers(plan)
        except Exception as error:  # each file system has exceptions of its own; results are complete without it
            reports.on_note(f"{plan.output}: temporary files of workers that died may be left ({one_line(error)})")


def _remove_leftovers(plan: ClusterPlan) -> None:
    """Of workers that died. Nobody writes any more: the journal's lock and the end of the session say so."""
    if plan.is_local:
        remove_leftovers(plan.jobs)
    else:
        Store(plan.output).remove_leftovers(plan.result_names())


def _write_table(place: str, journal: Journal, card: ModelCard) -> None:
    path = local_path(place)
    if path is not None:
        write_table(path, journal.results(), card)
        return
    folder, _, name = place.rpartition("/")
    with tempfile.TemporaryDirectory(prefix="segdino-table-") as directory:
        write_table(Path(directory) / name, journal.results(), card)
        Store(folder).write(name, (Path(directory) / name).read_bytes())
