"""Images that another way of segmenting takes out of the batches: large ones, that are tiled."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Protocol

from segdino_deploy.atomic import sha256_of
from segdino_deploy.engines.run.contract import Runner
from segdino_deploy.folders.jobs import Job, Target
from segdino_deploy.folders.reading import ImageFailed, reading, unwritable
from segdino_deploy.folders.records import HeadResult, ImageResult, printable


class AsideImage(Protocol):
    """One image that is taken aside, opened."""

    @property
    def size_hw(self) -> tuple[int, int]: ...

    def segment(self, runner: Runner) -> list[tuple[Target, dict[int, int]]]:
        """Writes the files of every head, each whole or not at all; returns where, and the pixels per class index.

        Called in the thread that drives the engine. Raises ImageFailed where the image cannot be read, OSError where
        its results cannot be written under their names, and SegdinoDeployError for what concerns all images.
        """
        ...


class Aside(Protocol):
    """Decides which images are taken aside."""

    @property
    def mask_suffixes(self) -> tuple[str, ...]:
        """Those that masks of such images may have: `.png`, `.tif`."""
        ...

    def open(self, job: Job) -> AsideImage | None:
        """None: an image like any other. Called in any thread. Raises InputError where the image cannot be read."""
        ...


def segment_aside(image: AsideImage, job: Job, output: Path, runner: Runner, overlay: bool) -> ImageResult:
    """Segments an image that was taken aside. Raises ImageFailed for what concerns this image alone, with nothing of it
    written, SegdinoDeployError for what concerns all of them.
    """
    with reading(job.image):
        status, sha256 = job.image.stat(), sha256_of(job.image)
    start = perf_counter()
    try:
        written = image.segment(runner)
        run_ms = round((perf_counter() - start) * 1e3, 3)
        heads = [_head_result(target, pixels, output, overlay) for target, pixels in written]
    except OSError as error:
        for path in [path for target in job.targets for path in (target.mask, target.overlay)]:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        raise unwritable(job.image, error) from error
    except MemoryError as error:
        raise ImageFailed(f"{job.image}: not enough memory for its tiles; choose smaller ones") from error
    height, width = image.size_hw
    return ImageResult(
        image=printable(job.name),
        status="ok",
        sha256=sha256,
        size_bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        width=width,
        height=height,
        heads=heads,
        is_tiled=True,
        run_ms=run_ms,  # decoding and writing are a part of it
    )


def _head_result(target: Target, pixels: dict[int, int], output: Path, overlay: bool) -> HeadResult:
    return HeadResult(
        head=target.head,
        mask=printable(target.mask.relative_to(output).as_posix()),
        mask_sha256=sha256_of(target.mask),
        mask_bytes=target.mask.stat().st_size,
        overlay=printable(target.overlay.relative_to(output).as_posix()) if overlay else None,
        overlay_bytes=target.overlay.stat().st_size if overlay else None,
        pixels=pixels,
    )
