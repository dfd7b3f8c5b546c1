"""The options of `predict` for many images, and what it prints of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segdino_deploy.cli.console import Progress, print_json, print_line
from segdino_deploy.errors import InputError, SegdinoDeployError

if TYPE_CHECKING:
    from segdino_deploy.folders.recording import Summary
    from segdino_deploy.manifest import HeadCard
    from segdino_deploy.progress import OnCount

WorkersOption = Annotated[
    int | None, typer.Option(metavar="N", help="Threads that decode and write images. Default: one per processor.")
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option(metavar="N", help="Images in one call of the engine. Default: what the model was exported for."),
]
TableOption = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="A row per image (.csv or .parquet): areas in pixels, times, sha256, errors."),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on with an interrupted run; only new, changed and failed images are done.")
]
OverlayOption = Annotated[bool, typer.Option("--overlay/--no-overlay", help="Write overlays beside the masks.")]

MAX_FAILURES_SHOWN = 5  # of one run, on stderr; the table has them all


def local_paths(inputs: list[str], output: str, table: str | None) -> tuple[list[Path], Path, Path | None]:
    """The places on the line as paths of this machine. InputError where one is elsewhere."""
    for place in (*inputs, output, *([table] if table is not None else [])):
        if "://" in place:
            raise InputError(f"{place}: is not on this machine; add --ray local to read and write other stores")
    return [Path(place) for place in inputs], Path(output), None if table is None else Path(table)


@contextmanager
def saying_how_to_go_on(progress: Progress, places: Sequence[str]) -> Iterator[OnCount]:
    """On Ctrl-C, and where a run fails in its middle. `places`: of the images and the results.

    Yields what shows the count of its images.
    """
    from segdino_deploy.cluster.stores import local_path

    has_begun = False

    def count(done: int, total: int) -> None:
        nonlocal has_begun
        has_begun = True
        progress.count("images", done, total)

    try:
        yield count
    except (KeyboardInterrupt, SegdinoDeployError) as error:
        if not has_begun and isinstance(error, SegdinoDeployError):
            raise
        if any(local_path(place) is None for place in places):
            progress.note("what is done stays; the same line begins anew, for --resume needs folders")
        else:
            progress.note("what is done stays; the same line with --resume goes on")
        raise


class Failures:
    """Shows the first few failures as they come."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._count = 0

    def __call__(self, reason: str) -> None:
        self._count += 1
        if self._count <= MAX_FAILURES_SHOWN:
            self._progress.note(f"failed: {reason}")
        elif self._count == MAX_FAILURES_SHOWN + 1:
            self._progress.note("failed: more images, which only the count at the end and --table tell of")


def print_summary(summary: Summary, engine: str, output: object, table: object | None, of_tiles: bool = False) -> None:
    """One line for people. `of_tiles`: of a run that tiles what is large, and so tells what it segmented whole."""
    earlier = f", {summary.resumed} of them by an earlier run" if summary.resumed else ""
    rate = f", {summary.images_per_second:.1f} images/s" if summary.images_per_second else ""
    whole = summary.done_now - summary.tiled if of_tiles else 0
    form = f" ({whole} of {summary.done_now} whole)" if whole else ""
    rows = f"; table: {table}" if table is not None else ""
    print_line(f"{summary.done} image(s) segmented by {engine}{earlier}{form}{rate}: results in {output}{rows}")


def print_summary_json(
    summary: Summary,
    engine: str,
    heads: list[HeadCard],
    source_of: Callable[[int], str],
    result_of: Callable[[str], str],
) -> None:
    """One document. `images` has one entry per image and head, and is left out of runs over 1000 images or more.

    `source_of`: the place of an image, by its index. `result_of`: that of a result, by its name.
    """
    document: dict[str, Any] = {
        "engine": engine,
        "class_names": {head.name: head.class_names for head in heads},
        "counts": {
            "images": summary.images,
            "done": summary.done,
            "failed": summary.failed,
            "resumed": summary.resumed,
        },
        "seconds": round(summary.seconds, 3),
        "images_per_second": round(summary.images_per_second, 3),
    }
    if len(summary.listed) == summary.images:
        document["images"] = [
            {
                "image": source_of(index),
                "head": head.head,
                "mask": result_of(head.mask),
                "overlay": None if head.overlay is None else result_of(head.overlay),
                "pixels": head.pixels,
            }
            for index, result in enumerate(summary.listed)
            for head in result.heads
        ]
        document["failures"] = [
            {"image": source_of(index), "error": result.error}
            for index, result in enumerate(summary.listed)
            if result.status == "failed"
        ]
    print_json(document)
