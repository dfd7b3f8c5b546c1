"""Callers that share a runner: a closed loop, a common start, a window; figures worked out by hand, not by a clock."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

import numpy as np
import pytest

from segdino_deploy.benchmarks.latency import throughput
from segdino_deploy.benchmarks.latency.throughput import Window, fill_batches, measure_throughput, run_callers
from segdino_deploy.errors import InputError, SegdinoDeployError
from tests.benchmarks.latency.fakes import FakeRunner
from tests.engines.run.model import make_card, make_images

PATIENCE = 20.0  # seconds


def test_only_calls_that_end_inside_the_window_count() -> None:
    first = [(100.0, 100.4), (100.4, 100.9), (100.9, 101.4)]  # the last one is under way when the second is over
    second = [(100.0, 100.5), (100.5, 101.0)]
    window = Window(seconds=1.0, calls=[first, second], began=100.0)

    assert window.ended == 101.0
    assert window.counted == [*first[:2], *second]
    assert window.calls_per_second == pytest.approx(2 / 0.9 + 2 / 1.0)


def test_a_call_that_the_end_cuts_off_does_not_lower_the_rate() -> None:
    calls = [(float(t), float(t + 1)) for t in range(6)]

    for seconds in (2.0, 2.5, 3.999):  # one call a second, whatever part of the next one the window holds
        assert Window(seconds, [calls], began=0.0).calls_per_second == 1


def test_the_window_stays_open_until_every_caller_had_two_calls() -> None:
    quick = [(float(t), float(t + 1)) for t in range(8)]
    slow = [(0.0, 2.5), (2.5, 5.0), (5.0, 7.5)]
    window = Window(seconds=1.0, calls=[quick, slow], began=0.0)

    assert window.ended == 5.0
    assert len(window.counted) == 5 + 2
    assert window.calls_per_second == pytest.approx(7 / 5)


def test_batches_are_filled_with_images_in_turns() -> None:
    pixels = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1)

    assert [batch.ravel().tolist() for batch in fill_batches(pixels, 4)] == [[0, 1, 2, 0], [1, 2, 0, 1], [2, 0, 1, 2]]
    assert len(fill_batches(np.zeros((50, 1, 1, 3), np.uint8), 1)) == throughput.BATCHES


def test_callers_are_inside_together_and_none_sends_before_it_has_its_answer() -> None:
    together = threading.Barrier(3, timeout=PATIENCE)
    own = threading.local()

    def meet(_: int) -> None:
        own.calls = getattr(own, "calls", 0) + 1
        if own.calls <= 3:  # one to warm up and two that count: every caller has so many
            together.wait()

    window = run_callers(meet, 3, seconds=0.01)

    for calls in window.calls:
        assert len(calls) >= 2
        assert all(end <= begin for (_, end), (begin, _) in pairwise(calls))


def test_the_window_opens_when_the_last_caller_is_warm() -> None:
    first_ends: dict[int, float] = {}
    one_is_slow = threading.Lock()  # whoever gets it

    def send(_: int) -> None:
        me = threading.get_ident()
        if me not in first_ends and one_is_slow.acquire(blocking=False):
            time.sleep(0.05)
        first_ends.setdefault(me, time.perf_counter())

    window = run_callers(send, 2, seconds=0.01)

    assert len(first_ends) == 2
    assert window.began >= max(first_ends.values())
    assert all(begin >= window.began for calls in window.calls for begin, _ in calls)


def test_callers_begin_with_different_batches() -> None:
    numbers: dict[int, list[int]] = {}

    run_callers(lambda index: numbers.setdefault(threading.get_ident(), []).append(index), 3, seconds=0.001)

    assert sorted(own[0] for own in numbers.values()) == [0, 1, 2]
    assert all(own == list(range(own[0], own[0] + len(own))) for own in numbers.values())


def test_every_combination_has_its_result_and_every_call_its_time() -> None:
    runner = FakeRunner(make_card(1, 4))
    images = [make_images(runner.card, 2, seed) for seed in range(3)]
    told: list[tuple[str, int, int]] = []

    results = measure_throughput(runner, images, [1, 3], [1, 2], 0.02, lambda *what: told.append(what))

    assert [(one.batch, one.callers) for one in results] == [(1, 1), (1, 2), (3, 1), (3, 2)]
    assert told == [("throughput", done, 4) for done in (1, 2, 3, 4)]
    assert {len(image) for _, image in runner.seen} == {1, 3}
    assert len({thread for thread, _ in runner.seen}) >= 2
    for one in results:
        assert one.images_per_second > 0
        assert len(one.call.samples_ms) >= 2 * one.callers


def test_images_per_second_are_of_images_and_call_times_of_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window(seconds=2.0, calls=[[(0.0, 0.5), (0.5, 1.0), (1.0, 2.0)]], began=0.0)
    monkeypatch.setattr(throughput, "run_callers", lambda *_: window)
    runner = FakeRunner(make_card(1, 4))

    (result,) = measure_throughput(runner, [make_images(runner.card, 1)], [4], [1], 2.0)

    assert result.images_per_second == 6  # 3 calls of 4 images in 2 seconds
    assert result.call.samples_ms == [500, 500, 1000]
    assert result.call.p50_ms == 500


@pytest.mark.parametrize("fails_at", [1, 2, 20])
def test_an_error_of_one_caller_ends_all_with_that_error(fails_at: int) -> None:
    runner = FakeRunner(make_card())
    count = iter(range(1, 10**9))
    lock = threading.Lock()

    def fail_once() -> None:
        with lock:
            number = next(count)
        if number == fails_at:
            raise SegdinoDeployError("the device is gone")
        time.sleep(0.0005)

    runner.before_run = fail_once
    before = threading.active_count()

    with pytest.raises(SegdinoDeployError, match=r"^the device is gone$"):
        measure_throughput(runner, [make_images(runner.card, 1)], [1], [3], PATIENCE)

    assert threading.active_count() == before


def test_a_caller_that_gets_no_thread_ends_all_instead_of_being_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.active_count()
    start = threading.Thread.start
    left = [3]  # the one that waits, and two callers

    def start_some(thread: threading.Thread) -> None:
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        start(thread)

    told: list[BaseException] = []

    def measure() -> None:
        try:
            run_callers(lambda _: None, 3, seconds=0.01)
        except InputError as error:
            told.append(error)

    waiter = threading.Thread(target=measure, daemon=True)  # a hang must not hang the tests
    monkeypatch.setattr(threading.Thread, "start", start_some)
    waiter.start()
    waiter.join(PATIENCE)

    assert not waiter.is_alive()
    assert [str(error) for error in told] == [
        "throughput: thread 3 of 3 callers: can't start new thread; measure with fewer callers"
    ]
    assert threading.active_count() == before


def test_batches_that_the_model_does_not_take_are_refused_before_any_is_measured() -> None:
    runner = FakeRunner(make_card(2, 4))
    image = make_images(runner.card, 2)
    with pytest.raises(InputError, match=r"batch of 8: this model takes 2 to 4; export it with another --batch"):
        measure_throughput(runner, [image], [2, 8], [1], 1.0)
    with pytest.raises(InputError, match=r"batch of 1: this model takes 3 only"):
        measure_throughput(FakeRunner(make_card(3, 3)), [image], [1], [1], 1.0)
    for callers, seconds in (([0], 1.0), ([], 1.0), ([1], 0.0)):
        with pytest.raises(InputError, match="at least one caller, for more than 0 s"):
            measure_throughput(runner, [image], [2], callers, seconds)
    assert runner.log == []
