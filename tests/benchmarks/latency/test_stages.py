"""From file to mask, stage by stage, in the one way that everybody segments files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdino_deploy import segment
from segdino_deploy.segment import StageTimes, segment_file, segment_file_timed
from tests.benchmarks.latency.fakes import FakeRunner
from tests.engines.run.model import answer, make_card


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x.png"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_the_masks_are_pillows_resizing_around_the_runner(file: Path) -> None:
    card = make_card(size=(16, 32))

    image, masks = segment_file(FakeRunner(card), file)

    with Image.open(file) as source:
        np.testing.assert_array_equal(image, np.asarray(source))
        sized = np.asarray(source.resize((32, 16), Image.Resampling.BILINEAR))
    (mask,) = answer(sized[None])["mask"]
    expected = np.asarray(Image.fromarray(mask).resize((50, 40), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(masks[""], expected)


def test_each_stage_has_its_time_in_order(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 0.001, 0.003, 0.010, 0.014])  # seconds
    monkeypatch.setattr(segment, "perf_counter", lambda: next(ticks))

    _, masks, times = segment_file_timed(FakeRunner(make_card()), file)

    measured = (times.decode_ms, times.resize_ms, times.run_ms, times.resize_back_ms, times.total_ms)
    assert measured == pytest.approx((1, 2, 7, 4, 14))
    assert masks[""].shape == (40, 50)


def test_the_total_is_all_stages() -> None:
    assert StageTimes(1, 2, 3, 4).total_ms == 10
