"""A data set that no filter, colour order or head can be confused on: coloured noise, larger than the model's size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdino_deploy import Bundle, build_engine
from segdino_deploy.benchmarks.bench import run_bench
from segdino_deploy.benchmarks.options import BenchOptions
from segdino_deploy.benchmarks.result import BenchResult
from segdino_deploy.engines.build import BuildOptions

Quick = Callable[..., BenchOptions]
ENGINE = "onnxruntime-fp32"
BUDGET = 0.05  # percent of pixels


@pytest.fixture(scope="session")
def coloured_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six images of 150x210 pixels without masks: three channels that differ, smooth and fine structure."""
    directory = tmp_path_factory.mktemp("coloured")
    rng = np.random.default_rng(0)
    for index in range(6):
        coarse = rng.integers(0, 256, (10, 14, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((210, 150), Image.Resampling.BICUBIC), np.int16)
        noise = rng.integers(-40, 41, smooth.shape)
        Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8)).save(directory / f"image_{index}.png")
    return directory


@pytest.fixture
def quick() -> Quick:
    """Options of a run that measures as little as can be."""

    def options(**changes: object) -> BenchOptions:
        least = {"rounds": 2, "warmup": 0, "throughput_seconds": 0.05, "callers": (1,), "starts": 1, "worst": 1}
        return BenchOptions(**{**least, **changes})  # type: ignore[arg-type]

    return options


@pytest.fixture
def bundle(bundle_copy: Callable[..., Bundle]) -> Bundle:
    """With an engine that is an ONNX file, so that defects can be planted in it. Its masks hold both classes."""
    made = bundle_copy("v1_paper")
    build_engine(made, BuildOptions("fp32", "onnxruntime", lowering=("none",)))
    return made


def measure(bundle: Bundle, images: Path, quick: Quick, tmp_path: Path, **changes: object) -> BenchResult:
    return run_bench(bundle, quick(data=images, max_drop=BUDGET, **changes), tmp_path / "pictures")
