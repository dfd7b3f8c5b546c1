"""Segmenting image files: masks and overlays on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segdino_deploy.engines.run import Runner
from segdino_deploy.errors import InputError
from segdino_deploy.images import list_images, mask_to_png_values, overlay, write_png
from segdino_deploy.progress import OnCount, ignore
from segdino_deploy.segment import segment_file


@dataclass(frozen=True)
class Job:
    """One image and where its results go."""

    image: Path
    mask: Path
    overlay: Path


@dataclass(frozen=True)
class Prediction:
    """What became of one image: pixels per class index, at source size."""

    job: Job
    pixels: dict[int, int]


def plan_jobs(inputs: Sequence[Path], output: Path) -> list[Job]:
    """`<stem>.png` and `<stem>.overlay.png` per image; sub-folders of an input folder are kept below `output`.

    Raises InputError: a missing path, a folder without images, two images whose results would have one name.
    """
    inside = output.resolve()  # results of an earlier run, where the output lies in an input folder
    images = [
        (given, image)
        for given in inputs
        for image in list_images(given)
        if image == given or inside not in image.resolve().parents
    ]
    sources = {image.resolve() for _, image in images}
    written: dict[Path, Path] = {}  # result -> the image it comes from
    jobs: list[Job] = []
    for given, image in images:
        relative = image.relative_to(given) if given.is_dir() else Path(image.name)
        mask = output / relative.with_suffix(".png")
        job = Job(image, mask, mask.with_suffix(".overlay.png"))
        for target in (job.mask, job.overlay):
            if target.resolve() in sources:
                raise InputError(f"{image}: its result {target} would overwrite an input; choose another -o")
            if target.resolve() in written:
                other = written[target.resolve()]
                raise InputError(f"{image} and {other} would both be written to {target}; run them apart")
            written[target.resolve()] = image
        jobs.append(job)
    return jobs


def predict_files(runner: Runner, jobs: Sequence[Job], on_image: OnCount = ignore) -> list[Prediction]:
    """Writes mask and overlay of every image. Each file is written whole or not at all.

    An image that cannot be read does not stop the others; InputError at the end names the first and counts them.
    """
    predictions: list[Prediction] = []
    failures: list[InputError] = []
    for index, job in enumerate(jobs):
        try:
            image, mask = segment_file(runner, job.image)
        except InputError as error:
            failures.append(error)
        else:
            write_png(job.mask, mask_to_png_values(mask, runner.card.num_classes))
            write_png(job.overlay, overlay(image, mask))
            values, counts = np.unique(mask, return_counts=True)
            predictions.append(Prediction(job, {int(v): int(c) for v, c in zip(values, counts, strict=True)}))
        on_image(index + 1, len(jobs))
    if failures:
        count = f" ({len(failures)} of {len(jobs)} images failed, the others were written)" if len(jobs) > 1 else ""
        raise InputError(f"{failures[0]}{count}")
    return predictions
