"""Which images run together, and who is refused. The engine is one that the test holds back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from segdino_deploy.errors import InputError, SegdinoDeployError
from segdino_deploy.serve.batching import Batcher, BatchOptions
from segdino_deploy.serve.metrics import Metrics
from segdino_deploy.serve.refusals import Overloaded
from tests.serve.conftest import SIZE_HW, HeldRunner

UInt8 = NDArray[np.uint8]
PATIENT = BatchOptions(max_batch=4, delay_seconds=0, max_requests=16, max_images=16)


def numbered(*numbers: int) -> UInt8:
    """`[N, H, W, 3]`, each image filled with its number."""
    return np.stack([np.full((*SIZE_HW, 3), number, np.uint8) for number in numbers])


def numbers_of(images: Any) -> list[int]:
    return [int(number) for number in np.asarray(images)[:, 0, 0].reshape(len(images), -1)[:, 0]]


def play(held: HeldRunner, options: BatchOptions, story: Callable[[Batcher], Awaitable[None]]) -> Metrics:
    """Runs a story on a loop of its own; the engine goes on at its end at the latest."""
    metrics = Metrics()

    async def tell() -> None:
        async with Batcher("polyp", held, options, metrics) as batcher:
            try:
                await asyncio.wait_for(story(batcher), 20)
            finally:
                held.may_go_on.set()

    asyncio.run(tell())
    return metrics


def ask(batcher: Batcher, *numbers: int, seconds: float = 20) -> asyncio.Task[dict[str, Any]]:
    return asyncio.create_task(batcher.within(seconds, batcher.run(numbered(*numbers))))


async def until_running(held: HeldRunner) -> None:
    while not held.is_running.is_set():
        await asyncio.sleep(0.001)


def test_requests_that_wait_for_the_engine_run_together_and_each_gets_its_own(held: HeldRunner) -> None:
    async def story(batcher: Batcher) -> None:
        first = ask(batcher, 1)
        await until_running(held)
        others = [ask(batcher, 2), ask(batcher, 3, 4), ask(batcher, 5)]
        await asyncio.sleep(0)
        held.may_go_on.set()
        answers = await asyncio.gather(first, *others)
        assert [numbers_of(answer["mask"]) for answer in answers] == [[1], [2], [3, 4], [5]]

    play(held, PATIENT, story)
    assert [numbers_of(batch) for batch in held.batches] == [[1], [2, 3, 4, 5]]


def test_a_request_beyond_the_batch_runs_in_pieces_that_others_share(held: HeldRunner) -> None:
    held.may_go_on.set()

    async def story(batcher: Batcher) -> None:
        answers = await asyncio.gather(ask(batcher, 1, 2, 3, 4, 5, 6), ask(batcher, 7, 8, 9))
        assert [numbers_of(answer["mask"]) for answer in answers] == [[1, 2, 3, 4, 5, 6], [7, 8, 9]]

    play(held, PATIENT, story)
    assert [numbers_of(batch) for batch in held.batches] == [[1, 2, 3, 4], [5, 6, 7, 8], [9]]


def test_two_calls_at_a_time_put_the_pieces_together_in_order(held: HeldRunner) -> None:
    held.may_go_on.set()
    options = replace(PATIENT, max_batch=1, workers=2)

    async def story(batcher: Batcher) -> None:
        assert numbers_of((await ask(batcher, *range(16)))["mask"]) == list(range(16))

    play(held, options, story)
    assert len(held.batches) == 16


def test_a_batch_waits_for_company(held: HeldRunner) -> None:
    held.may_go_on.set()

    async def story(batcher: Batcher) -> None:
        first = ask(batcher, 1)
        await asyncio.sleep(0.05)
        await asyncio.gather(first, ask(batcher, 2))

    play(held, replace(PATIENT, max_batch=2, delay_seconds=3600), story)
    assert [numbers_of(batch) for batch in held.batches] == [[1, 2]]


def test_a_batch_does_not_wait_for_ever(held: HeldRunner) -> None:
    held.may_go_on.set()

    async def story(batcher: Batcher) -> None:
        await ask(batcher, 1)  # the story ends after 20 s

    play(held, replace(PATIENT, delay_seconds=0.05), story)


@pytest.mark.parametrize(("max_batch", "count"), [(1, 1), (4, 4)])
def test_a_full_batch_waits_for_nobody(max_batch: int, count: int, held: HeldRunner) -> None:
    held.may_go_on.set()
    options = replace(PATIENT, max_batch=max_batch, delay_seconds=3600)

    async def story(batcher: Batcher) -> None:
        await ask(batcher, *range(count))  # the story ends after 20 s

    play(held, options, story)
    assert len(held.batches) == 1


def test_images_beyond_the_queue_are_refused_at_once_and_counted(held: HeldRunner) -> None:
    options = replace(PATIENT, max_batch=1, max_images=3)

    async def story(batcher: Batcher) -> None:
        inside = [ask(batcher, 1), ask(batcher, 2, 3)]
        await until_running(held)
        with pytest.raises(Overloaded, match="polyp: 3 images are being worked on; try again"):
            await batcher.run(numbered(4))
        held.may_go_on.set()
        await asyncio.gather(*inside)
        assert numbers_of((await batcher.run(numbered(5)))["mask"]) == [5]

    metrics = play(held, options, story)
    assert b'segdino_shed_requests_total{model="polyp",reason="full"} 1.0' in metrics.text()
    assert [numbers_of(batch) for batch in held.batches] == [[1], [2], [3], [5]]


def test_more_images_than_the_queue_ever_holds_are_no_overload(held: HeldRunner) -> None:
    async def story(batcher: Batcher) -> None:
        with pytest.raises(InputError, match="17 images in one request: this server takes 16 at most"):
            await batcher.run(numbered(*range(17)))

    play(held, PATIENT, story)


def test_requests_are_admitted_up_to_the_queue(held: HeldRunner) -> None:
    async def story(batcher: Batcher) -> None:
        with batcher.admit(), batcher.admit(), pytest.raises(Overloaded, match="2 requests"), batcher.admit():
            pass
        with batcher.admit(), batcher.admit():
            pass

    play(held, replace(PATIENT, max_requests=2), story)


def test_what_has_waited_too_long_is_refused_and_never_run(held: HeldRunner) -> None:
    async def story(batcher: Batcher) -> None:
        running = ask(batcher, 1)
        await until_running(held)
        with pytest.raises(Overloaded, match=r"no answer within 0\.05 s"):
            await ask(batcher, 2, seconds=0.05)
        last = ask(batcher, 3)
        held.may_go_on.set()
        await asyncio.gather(running, last)

    metrics = play(held, PATIENT, story)
    assert [numbers_of(batch) for batch in held.batches] == [[1], [3]]
    assert b'segdino_shed_requests_total{model="polyp",reason="deadline"} 1.0' in metrics.text()


def test_what_nobody_waits_for_any_more_is_not_run(held: HeldRunner) -> None:
    async def story(batcher: Batcher) -> None:
        running = ask(batcher, 1)
        await until_running(held)
        abandoned, last = ask(batcher, 2, 3, 4, 5, 6), ask(batcher, 7)
        await asyncio.sleep(0)
        abandoned.cancel()
        await asyncio.wait([abandoned])
        held.may_go_on.set()
        await asyncio.gather(running, last)

    metrics = play(held, PATIENT, story)
    assert [numbers_of(batch) for batch in held.batches] == [[1], [7]]
    assert b'segdino_queue_images{model="polyp"} 0.0' in metrics.text()


def test_an_engine_that_fails_is_the_answer_of_its_batch_alone(held: HeldRunner) -> None:
    async def story(batcher: Batcher) -> None:
        held.fails = True
        together = [ask(batcher, 1), ask(batcher, 2, 3, 4, 5, 6)]
        await until_running(held)
        held.may_go_on.set()
        for answer in await asyncio.gather(*together, return_exceptions=True):
            assert isinstance(answer, SegdinoDeployError)
            assert "the device has caught fire" in str(answer)
        held.fails = False
        assert numbers_of((await batcher.run(numbered(7)))["mask"]) == [7]

    play(held, PATIENT, story)
    assert [numbers_of(batch) for batch in held.batches] == [[1, 2, 3, 4], [7]]


def test_answers_that_cannot_be_put_together_end_their_request_alone(
    held: HeldRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too little memory does that, too."""

    def shorter_each_time(image_nhwc: UInt8) -> dict[str, Any]:
        held.batches.append(image_nhwc)
        return {"mask": image_nhwc[:, len(held.batches) :, :, 0]}

    monkeypatch.setattr(held, "_run", shorter_each_time)

    async def story(batcher: Batcher) -> None:
        with pytest.raises(ValueError, match="concatenation axis"):
            await ask(batcher, 1, 2, 3, 4, 5, 6, seconds=5)
        assert numbers_of((await ask(batcher, 7, seconds=5))["mask"]) == [7]
        assert batcher.is_working

    play(held, PATIENT, story)


def test_a_worker_that_has_ended_is_told_and_logged(
    held: HeldRunner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Batcher) -> None:
        raise RuntimeError("nothing can be taken")

    monkeypatch.setattr(Batcher, "_take", fail)

    async def story(batcher: Batcher) -> None:
        assert batcher.is_working
        with pytest.raises(Overloaded):
            await ask(batcher, 1, seconds=0.2)
        assert not batcher.is_working

    play(held, PATIENT, story)
    assert "polyp: takes no more requests" in caplog.text
    assert "nothing can be taken" in caplog.text
