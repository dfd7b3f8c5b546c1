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
class Target:
    """Where the results of one head go."""

    head: str
    mask: Path
    overlay: Path


@dataclass(frozen=True)
class Job:
    """One image and where its results go, head by head."""

    image: Path
    targets: tuple[Target, ...]


@dataclass(frozen=True)
class Prediction:
    """What one head found in one image: pixels per class index, at source size."""

    image: Path
    target: Target
    pixels: dict[int, int]


def plan_jobs(inputs: Sequence[Path], output: Path, heads: Sequence[str] = ("",)) -> list[Job]:
    """`<stem>.png` and `<stem>.overlay.png` per image, or for named heads `<stem>.<head>.png` and
    `<stem>.<head>.overlay.png`; sub-folders of an input folder are kept below `output`.

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
        targets = tuple(_target(output / relative, head) for head in heads)
        for path in [path for target in targets for path in (target.mask, target.overlay)]:
            if path.resolve() in sources:
                raise InputError(f"{image}: its result {path} would overwrite an input; choose another -o")
            if path.resolve() in written:
                other = written[path.resolve()]
                raise InputError(f"{image} and {other} would both be written to {path}; run them apart")
            written[path.resolve()] = image
        jobs.append(Job(image, targets))
    return jobs


def _target(image: Path, head: str) -> Target:
    suffix = f".{head}" if head else ""
    return Target(head, image.with_suffix(f"{suffix}.png"), image.with_suffix(f"{suffix}.overlay.png"))


def predict_files(runner: Runner, jobs: Sequence[Job], on_image: OnCount = ignore) -> list[Prediction]:
    """Writes mask and overlay of every image and head. Each file is written whole or not at all.

    An image that cannot be read does not stop the others; InputError at the end names the first and counts them.
    """
    num_classes = {head.name: head.num_classes for head in runner.card.heads}
    predictions: list[Prediction] = []
    failures: list[InputError] = []
    for index, job in enumerate(jobs):
        try:
            image, masks = segment_file(runner, job.image)
        except InputError as error:
            failures.append(error)
        else:
            for target in job.targets:
                mask = masks[target.head]
                write_png(target.mask, mask_to_png_values(mask, num_classes[target.head]))
                write_png(target.overlay, overlay(image, mask))
                values, counts = np.unique(mask, return_counts=True)
                pixels = {int(v): int(c) for v, c in zip(values, counts, strict=True)}
                predictions.append(Prediction(job.image, target, pixels))
        on_image(index + 1, len(jobs))
    if failures:
        count = f" ({len(failures)} of {len(jobs)} images failed, the others were written)" if len(jobs) > 1 else ""
        raise InputError(f"{failures[0]}{count}")
    return predictions
