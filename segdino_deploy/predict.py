"""Segmenting image files: masks and overlays on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segdino_deploy.engines.run import Runner
from segdino_deploy.errors import CheckFailed
from segdino_deploy.folders.jobs import Job, Jobs, Target, plan_jobs
from segdino_deploy.folders.options import FolderOptions
from segdino_deploy.folders.pipeline import segment_jobs
from segdino_deploy.folders.records import ImageResult
from segdino_deploy.progress import OnCount, ignore


@dataclass(frozen=True)
class Prediction:
    """What one head found in one image: pixels per class index, at source size."""

    image: Path
    target: Target
    pixels: dict[int, int]


def predict_files(
    runner: Runner, jobs: Jobs, on_image: OnCount = ignore, options: FolderOptions = FolderOptions()
) -> list[Prediction]:
    """Writes mask and overlay of every image and head. Each file is written whole or not at all.

    For as many images as a list of their results may hold; of any number: `folders.predict.predict_folder`. An image
    that cannot be read does not stop the others; CheckFailed at the end names the first and counts them.
    """
    predictions: list[Prediction] = []
    failures: list[str] = []
    reported = 0

    def on_result(index: int, result: ImageResult) -> None:
        nonlocal reported
        job = jobs[index]
        if result.status == "failed":
            failures.append(result.error)
        predictions.extend(
            Prediction(job.image, target, head.pixels)
            for target, head in zip(job.targets, result.heads, strict=False)  # of a failed image there are none
        )
        reported += 1
        on_image(reported, len(jobs))

    segment_jobs(runner, jobs, options, on_result)
    if failures:
        raise CheckFailed(describe_failures(failures[0], len(failures), len(jobs)))
    return predictions


def describe_failures(first: str, failed: int, images: int) -> str:
    """One line: the first failure, and how many there are."""
    return f"{first} ({failed} of {images} images failed, the others were written)" if images > 1 else first


__all__ = ["Job", "Jobs", "Prediction", "Target", "describe_failures", "plan_jobs", "predict_files"]
