"""How much of the engine's own throughput is left of a folder, from files to files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from segdino_deploy.benchmarks.scale.result import FolderRun
from segdino_deploy.benchmarks.statistics import interval_of_ratio
from segdino_deploy.engines.run.contract import Runner
from segdino_deploy.export.graph import INPUT
from segdino_deploy.folders.options import FolderOptions
from segdino_deploy.folders.predict import predict_folder
from segdino_deploy.predict import plan_jobs
from segdino_deploy.progress import OnCount, ignore
from segdino_deploy.segment import load_input
from segdino_deploy.timing import every_round, interleave

WARMUP = 1


def measure_folder(runner: Runner, folder: Path, rounds: int, on_round: OnCount = ignore) -> FolderRun:
    """Rounds of the engine alone, of masks, and of masks with overlays, interleaved. InputError: not one image."""
    heads = [head.name for head in runner.card.heads]
    with tempfile.TemporaryDirectory() as directory:
        paths = [job.image for job in plan_jobs([folder], Path(directory), heads)]
    images = np.stack([load_input(path, runner.card) for path in paths])  # [images, H, W, 3]
    batch = runner.card.batch.opt

    def run_engine() -> None:
        for start in range(0, len(images), batch):
            runner.run({INPUT: images[start : start + batch]})

    def run_folder(overlay: bool) -> None:
        with tempfile.TemporaryDirectory() as directory:
            jobs = plan_jobs([folder], Path(directory), heads)
            predict_folder(runner, jobs, FolderOptions(overlay=overlay), identity="")

    contestants = {
        "engine": every_round(run_engine),
        "masks": every_round(lambda: run_folder(overlay=False)),
        "overlays": every_round(lambda: run_folder(overlay=True)),
    }
    times_ms = interleave(contestants, rounds, WARMUP, on_round)
    return FolderRun(
        images=len(images),
        engine_s=_seconds(times_ms["engine"]),
        masks_s=_seconds(times_ms["masks"]),
        overlays_s=_seconds(times_ms["overlays"]),
        masks_share=interval_of_ratio(times_ms["engine"], times_ms["masks"]),
        overlays_share=interval_of_ratio(times_ms["engine"], times_ms["overlays"]),
    )


def _seconds(times_ms: list[float]) -> list[float]:
    return [round(value / 1e3, 4) for value in times_ms]
