"""Speed in rounds: who runs when, what is kept and what it is compared with; no clock in any assertion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdino_deploy.benchmarks.latency import rounds
from segdino_deploy.benchmarks.latency.rounds import SpeedSamples, measure_speed, summarise_speed
from segdino_deploy.errors import InputError, SegdinoDeployError
from segdino_deploy.segment import StageTimes
from tests.benchmarks.latency.fakes import FakeRunner
from tests.engines.run.model import answer, make_card, make_images

CARD = make_card(2, 2)
ROUNDS, WARMUP = 4, 2


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three images of other sizes than the model's."""
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        pixels = np.random.default_rng(number).integers(0, 256, (20 + number, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return paths


def test_every_round_has_a_turn_of_every_contestant_that_begins_with_a_run_that_does_not_count(
    files: list[Path],
) -> None:
    log: list[str] = []
    runners = {name: FakeRunner(CARD, name, log) for name in ("a", "b")}
    images = [make_images(CARD, 2, seed) for seed in range(3)]

    samples = measure_speed(runners, images, files, ROUNDS, WARMUP)

    calls = [call.split() for call in log[2 * 2 :]]  # each has shown before that the engine alone does the work
    turns = [calls[start : start + 4] for start in range(0, len(calls), 4)]
    names = []
    for turn in turns:
        (name,) = {name for name, *_ in turn}
        names.append(name)
        ways = [" ".join(way) for _, *way in turn]
        assert ways[0] == "alone"
        assert sorted(ways[1:]) == ["alone", "with copies", "with copies"]  # from file to mask is one more run
    orders = [names[start : start + 2] for start in range(0, len(names), 2)]
    assert [sorted(order) for order in orders] == [["a", "b"]] * (WARMUP + ROUNDS)
    assert orders[WARMUP:] == [["a", "b"], ["b", "a"]] * (ROUNDS // 2)
    for own in samples.values():
        assert [len(own.engine_only_ms), len(own.with_copies_ms), len(own.files)] == [ROUNDS] * 3
        assert min(own.with_copies_ms + own.engine_only_ms) > 0


def test_the_ways_take_turns_in_being_first(files: list[Path]) -> None:
    log: list[str] = []
    measure_speed({"a": FakeRunner(CARD, "a", log)}, [make_images(CARD, 2)], files, 3, 0)

    turns = [log[start + 1 : start + 4] for start in range(2, len(log), 4)]
    assert [turn.index("a alone") for turn in turns] == [0, 2, 1]


def test_the_rounds_to_warm_up_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(rounds, "perf_counter", lambda: next(clock) ** 2 / 1e3)  # each interval is longer by 2 ms

    (samples,) = measure_speed({"a": FakeRunner(CARD)}, [make_images(CARD, 2)], [], 2, 1).values()

    # the ways' intervals are 1, 5 ms in the round to warm up, then 9, 13 and, the other way first, 17, 21
    assert samples.engine_only_ms == pytest.approx([9, 21])
    assert samples.with_copies_ms == pytest.approx([13, 17])


def test_all_contestants_of_a_round_see_the_same_image() -> None:
    runners = {name: FakeRunner(CARD, name) for name in ("a", "b")}
    images = [make_images(CARD, 2, seed) for seed in range(3)]

    samples = measure_speed(runners, images, [], ROUNDS, WARMUP)

    for runner in runners.values():
        seen = [image for _, image in runner.seen[1 + WARMUP :]]
        assert [next(i for i, image in enumerate(images) if np.array_equal(image, one)) for one in seen] == [0, 1, 2, 0]
    assert all(own.files == [] for own in samples.values())


def test_progress_counts_every_round() -> None:
    told: list[tuple[str, int, int]] = []
    measure_speed({"a": FakeRunner(CARD)}, [make_images(CARD, 2)], [], 3, 1, lambda *what: told.append(what))

    assert told == [("latency", done, 4) for done in (1, 2, 3, 4)]


def test_an_engine_that_does_other_work_alone_is_not_timed() -> None:
    broken = FakeRunner(CARD)
    image = make_images(CARD, 2)
    broken.alone_gives = np.asarray(answer(image)["mask"])
    broken.alone_gives = np.roll(broken.alone_gives, 1, axis=1)

    with pytest.raises(SegdinoDeployError, match=r"^b: without copies it gives another mask \(same in \d\d\.\d% of"):
        measure_speed({"a": FakeRunner(CARD), "b": broken}, [image], [], 2, 0)


def test_nothing_to_measure_is_said() -> None:
    runners = {"a": FakeRunner(CARD)}
    with pytest.raises(InputError, match="0 rounds after 3 to warm up: at least 1"):
        measure_speed(runners, [make_images(CARD, 2)], [], 0, 3)
    with pytest.raises(InputError, match="no images to measure with"):
        measure_speed(runners, [], [], 1, 0)
    with pytest.raises(InputError, match="batch of 3: this model takes 2"):
        measure_speed(runners, [make_images(CARD, 3)], [], 1, 0)


def test_speed_is_per_image_and_ratios_are_paired_round_by_round() -> None:
    reference = SpeedSamples(
        engine_only_ms=[10, 100, 40],
        with_copies_ms=[12, 120, 48],
        files=[StageTimes(1, 2, 16, 1), StageTimes(1, 2, 36, 1), StageTimes(1, 2, 56, 1)],  # 20, 40, 60 together
    )
    engine = SpeedSamples(
        engine_only_ms=[10, 20, 4],  # 1, 5 and 10 times faster; of the medians it would be 40 / 10 = 4
        with_copies_ms=[6, 40, 12],  # 2, 3 and 4 times
        files=[StageTimes(1, 1, 2, 1), StageTimes(1, 2, 6, 1), StageTimes(2, 3, 4, 1)],  # 5, 10, 10: 4, 4 and 6 times
    )

    speed = summarise_speed({"torch": reference, "engine": engine}, 2)

    own = speed["engine"]
    assert own.engine_only.samples_ms == [5, 10, 2]
    assert own.with_copies.samples_ms == [3, 20, 6]
    assert own.file_to_mask is not None
    assert own.file_to_mask.total.samples_ms == [5, 10, 10]  # one image each, whatever the batch
    assert own.file_to_mask.decode.samples_ms == [1, 1, 2]
    assert own.file_to_mask.resize.samples_ms == [1, 2, 3]
    assert own.file_to_mask.run.samples_ms == [2, 6, 4]
    assert own.file_to_mask.resize_back.samples_ms == [1, 1, 1]
    assert own.file_to_mask_ratio is not None
    ratios = (own.engine_only_ratio, own.with_copies_ratio, own.file_to_mask_ratio)
    assert [ratio.value for ratio in ratios] == pytest.approx([5, 3, 4])
    assert all(ratio.interval is None for ratio in ratios)  # three rounds are too few
    assert speed["torch"].engine_only_ratio.value == 1
    twice = [
        SpeedSamples(2 * side.engine_only_ms, 2 * side.with_copies_ms, 2 * side.files) for side in (reference, engine)
    ]
    own = summarise_speed({"torch": twice[0], "engine": twice[1]}, 2)["engine"]
    for ratio, low, high in zip((own.engine_only_ratio, own.with_copies_ratio), (1, 2), (10, 4), strict=True):
        assert ratio.interval is not None
        assert low <= ratio.interval.low <= ratio.value <= ratio.interval.high <= high


def test_without_files_there_is_nothing_from_file_to_mask() -> None:
    speed = summarise_speed({"a": SpeedSamples([1.0, 2.0], [2.0, 3.0], [])}, 1)["a"]

    assert (speed.file_to_mask, speed.file_to_mask_ratio) == (None, None)
