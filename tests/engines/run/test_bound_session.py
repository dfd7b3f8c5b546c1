"""TensorRT alone on the (simulated) GPU: no copy, a graph of its own, and an end with its runner."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from segdino_deploy.engines.run.tensorrt import TensorRtRunner
from segdino_deploy.errors import InputError, SegdinoDeployError
from tests.engines.run.model import assert_answers, make_card, make_images
from tests.engines.run.simulation import SimulatedGpu

PATIENCE = 20.0  # seconds
Open = Callable[..., TensorRtRunner]


def test_calls_copy_nothing_and_leave_the_answer_on_the_gpu(open_runner: Open, gpu: SimulatedGpu) -> None:
    card = make_card(1, 3)
    image = make_images(card, 2)
    with open_runner(card) as runner:
        bound = runner.bind(image)
        gpu.log.clear()

        for _ in range(3):
            bound()
            assert not any(gpu.streams.values())  # waited for

        assert [entry for entry in gpu.log if entry.startswith(("copy", "allocate"))] == []
        assert_answers(bound.outputs(), image)
    assert gpu.is_empty


def test_the_first_call_is_a_captured_graph_already(open_runner: Open, gpu: SimulatedGpu) -> None:
    card = make_card()
    with open_runner(card) as runner:
        bound = runner.bind(make_images(card, 1))
        bound()
        bound()

        assert (gpu.log.count("capture"), gpu.launches) == (1, 2)


def test_runs_of_other_batches_neither_disturb_it_nor_are_disturbed(open_runner: Open, gpu: SimulatedGpu) -> None:
    card = make_card(1, 4)
    image = make_images(card, 2)
    with open_runner(card) as runner:
        bound = runner.bind(image)
        bound()
        captured = gpu.log.count("capture")
        for seed, batch in enumerate([1, 4, 3, 9]):
            other = make_images(card, batch, seed)
            assert_answers(runner.run({"image": other}), other)
            bound()
            assert_answers(bound.outputs(), image)

        launches = gpu.launches
        bound()
        assert gpu.launches == launches + 1
        assert gpu.log.count("capture") == captured + 1  # of the two runs of 4 images in the batch of 9, not of this


def test_threads_run_beside_it(open_runner: Open) -> None:
    card = make_card(1, 3)
    image = make_images(card, 3)
    images = [make_images(card, 1 + seed % 3, seed) for seed in range(20)]
    with open_runner(card) as runner, ThreadPoolExecutor(4) as threads:
        bound = runner.bind(image)
        results = threads.map(lambda one: runner.run({"image": one}), images, timeout=PATIENCE)
        for _ in range(20):
            bound()
            assert_answers(bound.outputs(), image)
        for one, outputs in zip(images, results, strict=True):
            assert_answers(outputs, one)


def test_a_batch_that_the_model_does_not_take_at_once_is_refused(open_runner: Open, gpu: SimulatedGpu) -> None:
    card = make_card(2, 4)
    with open_runner(card) as runner:
        before = len(gpu.allocations)
        with pytest.raises(InputError, match="batch of 5: this model takes 2 to 4"):
            runner.bind(make_images(card, 5))
        assert len(gpu.allocations) == before


def test_it_ends_with_its_runner_before_the_engine_does(open_runner: Open, gpu: SimulatedGpu) -> None:
    card = make_card()
    runner = open_runner(card)
    bound = runner.bind(make_images(card, 1))
    bound()

    runner.close()

    assert gpu.is_empty
    assert gpu.log[-1] == "engine is gone"
    assert gpu.log.count("context is gone") == 2
    for call in (bound, bound.outputs, lambda: runner.bind(make_images(card, 1))):
        with pytest.raises(SegdinoDeployError, match="was closed: open it again"):
            call()


def test_it_keeps_its_runner_alive_and_lets_it_go(open_runner: Open, gpu: SimulatedGpu) -> None:
    card = make_card()
    image = make_images(card, 1)
    bound = open_runner(card).bind(image)
    gc.collect()

    bound()
    assert_answers(bound.outputs(), image)

    del bound
    gc.collect()
    assert gpu.is_empty


def test_closing_waits_for_a_call_under_way(open_runner: Open, gpu: SimulatedGpu) -> None:
    card = make_card()
    runner = open_runner(card)
    bound = runner.bind(make_images(card, 1))
    started = threading.Event()

    def call_on() -> None:
        with pytest.raises(SegdinoDeployError, match="was closed"):
            while True:
                bound()
                started.set()

    with ThreadPoolExecutor(1) as threads:
        calling = threads.submit(call_on)
        assert started.wait(PATIENCE)
        runner.close()
        assert gpu.is_empty
        calling.result(PATIENCE)


def test_whatever_cuda_call_fails_while_binding_the_runner_is_as_before(open_runner: Open, gpu: SimulatedGpu) -> None:
    card = make_card(1, 2)
    image = make_images(card, 2)
    with open_runner(card) as runner:
        before = len(gpu.log)
        runner.bind(image)
        calls = len(gpu.log) - before
        kept = len(gpu.allocations), len(gpu.pinned), len(gpu.streams)
        assert calls > 8
        for call in range(1, calls + 1):
            gpu.fails_at = len(gpu.log) + call
            with pytest.raises(SegdinoDeployError, match="refused by the simulation"):
                runner.bind(image)
            gpu.fails_at = None
            assert (len(gpu.allocations), len(gpu.pinned), len(gpu.streams)) == kept
        assert_answers(runner.run({"image": image}), image)
    assert gpu.is_empty


def test_a_call_that_fails_is_one_error_and_the_next_one_works(open_runner: Open, gpu: SimulatedGpu) -> None:
    card = make_card()
    image = make_images(card, 1)
    with open_runner(card) as runner:
        bound = runner.bind(image)
        bound()
        gpu.fails_at = len(gpu.log) + 1
        with pytest.raises(SegdinoDeployError, match="launch: refused by the simulation"):
            bound()

        bound()
        assert_answers(bound.outputs(), image)


def test_device_memory_is_what_opening_has_taken(open_runner: Open, gpu: SimulatedGpu) -> None:
    # per context, for the largest batch: 4 images [16, 32, 3] of bytes, masks of bytes, logits [3, 16, 32] of 4 bytes
    of_a_context = 4 * (16 * 32 * 3 + 16 * 32 + 3 * 16 * 32 * 4)
    card = make_card(1, 4)
    with gpu.active():
        others = gpu.allocate(5 * 2**20)  # somebody else's, from before

    with open_runner(card, contexts=2) as runner:
        assert runner.device_memory_mib == 2 * of_a_context / 2**20
        runner.bind(make_images(card, 1))
        assert runner.device_memory_mib == 3 * of_a_context / 2**20
        with gpu.active():
            gpu.free(others)
        assert runner.device_memory_mib is None  # others have moved: nobody can tell
