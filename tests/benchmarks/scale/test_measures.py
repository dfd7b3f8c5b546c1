"""What is measured is what the names say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdino_deploy.benchmarks.scale.folder import measure_folder
from segdino_deploy.benchmarks.scale.large_image import write_large_tiff
from tests.conftest import EXAMPLE
from tests.folders.toy import BATCH, Colours, make_folder

pytest.importorskip("pyvips")
PHOTOS = EXAMPLE / "test" / "image"


def test_the_large_image_is_made_of_copies(tmp_path: Path) -> None:
    photo = min(PHOTOS.iterdir())
    write_large_tiff(photo, 600, tmp_path / "large.tif")

    pixels = np.asarray(Image.open(photo).convert("RGB"))
    copies = np.tile(pixels, (3, 3, 1))[:600, :600]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "large.tif")), copies)


def test_a_folder_runs_as_often_as_the_engine_alone(tmp_path: Path) -> None:
    images, rounds, warmup = 2 * BATCH, 2, 1
    runner = Colours()

    measured = measure_folder(runner, make_folder(tmp_path / "photos", images), rounds)

    assert measured.images == images
    assert sum(runner.batches) == 3 * (rounds + warmup) * images  # engine, masks, overlays
    assert [len(times) for times in (measured.engine_s, measured.masks_s, measured.overlays_s)] == [rounds] * 3
    assert 0 < measured.masks_share.value < 1
