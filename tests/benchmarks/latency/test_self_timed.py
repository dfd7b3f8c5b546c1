"""Runners with a clock of their own: their way from a file has to end where ours does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdino_deploy.benchmarks.latency.rounds import measure_speed
from segdino_deploy.benchmarks.latency.self_timed import SelfTimedRunner, TurnTimes
from segdino_deploy.engines.run.contract import Array
from segdino_deploy.errors import SegdinoDeployError
from segdino_deploy.segment import StageTimes, segment_file
from tests.benchmarks.latency.fakes import FakeRunner
from tests.engines.run.model import answer, make_card, make_images

CARD = make_card()


class OtherProcess(SelfTimedRunner):
    """Notes what it was given; its masks are those of the file, moved to the side by `offset` pixels."""

    backend, precision, device = "fake", "fp32", "CPU"

    def __init__(self, offset: int = 0, turned: bool = False) -> None:
        super().__init__(CARD)
        self.process_id = 0
        self.offset = offset
        self.turned = turned
        self.loaded: tuple[int, list[Path]] = (0, [])
        self.rounds: list[int] = []

    def _run(self, image_nhwc: np.ndarray) -> dict[str, Array]:
        return dict(answer(image_nhwc))

    def load(self, images: Sequence[np.ndarray], files: Sequence[Path]) -> None:
        self.loaded = len(images), list(files)

    def turn(self, round_index: int) -> TurnTimes:
        self.rounds.append(round_index)
        return TurnTimes(1, 2, StageTimes(1, 2, 3, 4) if self.loaded[1] else None)

    def run_again(self) -> None: ...

    def segment(self, path: Path) -> dict[str, np.ndarray]:
        masks = segment_file(self, path)[1]
        return {head: np.roll(mask.T if self.turned else mask, self.offset, axis=1) for head, mask in masks.items()}

    def call(self, batches: Sequence[np.ndarray], callers: int, seconds: float) -> list[list[tuple[float, float]]]:
        raise NotImplementedError(f"{callers} callers, {len(batches)} batches, {seconds} s")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for number, path in enumerate(paths):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return paths


def test_it_takes_its_turn_in_the_rounds_of_all(files: list[Path]) -> None:
    other = OtherProcess()

    samples = measure_speed({"here": FakeRunner(CARD), "there": other}, [make_images(CARD, 1)] * 3, files, 4, 2)

    assert other.loaded == (3, files)
    assert other.rounds == [0, 0, 0, 1, 2, 3]  # two of them to warm up
    assert samples["there"].engine_only_ms == [1] * 4
    assert samples["there"].with_copies_ms == [2] * 4
    assert [one.total_ms for one in samples["there"].files] == [10] * 4
    assert len(samples["here"].files) == 4


@pytest.mark.parametrize("other", [OtherProcess(offset=1), OtherProcess(turned=True)])
def test_another_mask_of_the_file_is_not_timed(other: OtherProcess, files: list[Path]) -> None:
    with pytest.raises(SegdinoDeployError, match=r"^there: .*0\.png: read and resized by itself it gives another mask"):
        measure_speed({"here": FakeRunner(CARD), "there": other}, [make_images(CARD, 1)], files, 1, 0)
