"""A whole run over images and folders: journal, pipeline, table."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from segdino_deploy import __version__
from segdino_deploy.bundle import Bundle
from segdino_deploy.engines.run import bundle_of
from segdino_deploy.engines.run.contract import Runner
from segdino_deploy.errors import InputError
from segdino_deploy.folders.aside import Aside
from segdino_deploy.folders.jobs import Jobs, check_results
from segdino_deploy.folders.journal import Head, Journal
from segdino_deploy.folders.leftovers import remove_leftovers
from segdino_deploy.folders.options import FolderOptions
from segdino_deploy.folders.pipeline import segment_jobs
from segdino_deploy.folders.recording import Recorder, Reports, Summary
from segdino_deploy.folders.table import check_table, write_table


def predict_folder(
    runner: Runner,
    jobs: Jobs,
    options: FolderOptions,
    identity: str,
    *,
    table: Path | None = None,
    resume: bool = False,
    aside: Aside | None = None,
    more_options: Mapping[str, str] | None = None,
    reports: Reports = Reports(),
) -> Summary:
    """Segments every image and writes masks, overlays and the table. Images that fail are counted, not raised.

    While it runs, and afterwards where an image failed or `resume` is given, a journal lies beside the results.
    `resume` goes on with what it holds: images that are done, unchanged, and whose results are there are passed over.
    `identity`: see `engine_identity`. `more_options`: what else results depend on, by the names that users know.
    Raises InputError: options that do not fit, masks of `aside` that would overwrite an input, a journal of another
    engine or of other options, no permission to write; SegdinoDeployError: no space left, or an engine that failed.
    What was done until then stays, and `resume` goes on.
    """
    batch_size = options.batch_for(runner.card)
    if table is not None:
        check_table(table)
    if aside is not None:
        check_results(jobs, aside.mask_suffixes)  # of which the plan knows only .png
    chosen = {"--batch-size": str(batch_size), "--overlay": "yes" if options.overlay else "no", **(more_options or {})}
    engine = f"{runner.backend} {runner.precision}"
    head = Head(tool_version=__version__, engine=engine, engine_sha256=identity, options=chosen)
    with Journal(head, jobs, resume) as journal:
        recorder = Recorder(journal, len(jobs), resume, reports)
        recorder.begin()
        if journal.was_left:
            remove_leftovers(jobs, [table] if table is not None else [])
        segment_jobs(runner, jobs, options, recorder.add, journal.is_done, aside)
        if table is not None:
            write_table(table, journal.results(), runner.card)
        return recorder.finish()


def engine_identity(path: Path, backend: str, precision: str) -> str:
    """sha256 of the files of the engine that was opened from `path`, a bundle or an engine file in it, and of its card.

    Where a bundle has several engines of this backend and precision, of all of them; where it has none, because the
    engine runs on a server, of all of this precision.
    """
    bundle, name = bundle_of(path) if path.is_file() else (Bundle.open(path), None)
    engines = [engine for key, engine in bundle.manifest.engines.items() if name in (None, key)]
    of_precision = [engine for engine in engines if engine.precision == precision]
    alike = [engine for engine in of_precision if engine.backend == backend] or of_precision
    files = sorted({file for engine in alike for file in (engine.file, *engine.companions)})
    if not files:
        raise InputError(f"{path}: has no {backend} {precision} engine any more; run again")
    hashes = [f"{file} {bundle.manifest.files[file].sha256}" for file in files]
    return hashlib.sha256("\n".join([*hashes, bundle.manifest.model.model_dump_json()]).encode()).hexdigest()
