"""The TensorRT runner as its callers see it, with the library and the GPU simulated."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from segdino_deploy.engines.run import RUNNERS
from segdino_deploy.engines.run.tensorrt import TensorRtRunner
from segdino_deploy.errors import InputError, SegdinoDeployError
from tests.engines.run.model import answer, assert_answers, make_card, make_images
from tests.engines.run.simulation import Producer, SimulatedGpu, read_back

PATIENCE = 20.0  # seconds
Open = Callable[..., TensorRtRunner]


def test_both_flavours_are_opened_by_it() -> None:
    assert RUNNERS["tensorrt"] is RUNNERS["tensorrt-rtx"]


def test_a_runner_says_what_it_is(open_runner: Open) -> None:
    with open_runner(make_card()) as runner:
        assert (runner.backend, runner.precision, runner.input_size) == ("tensorrt", "fp16", (16, 32))
        assert runner.device == "NVIDIA L4 (compute capability 8.9)"


@pytest.mark.parametrize(
    ("low", "high", "count", "batches"),
    [
        (1, 4, 3, [3]),
        (1, 4, 4, [4]),
        (1, 4, 9, [4, 4, 1]),
        (2, 3, 7, [3, 3, 2]),  # the last one is filled up to what the model takes
        (2, 2, 5, [2, 2, 2]),
        (1, 1, 3, [1, 1, 1]),
    ],
)
def test_any_number_of_images_from_the_least_on_is_run_in_batches(
    low: int, high: int, count: int, batches: list[int], open_runner: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = make_card(low, high)
    sizes: list[int] = []
    with open_runner(card) as runner:
        session = runner._sessions[0]
        run = session.run

        def noted(image: Any) -> Any:
            sizes.append(len(image))
            return run(image)

        monkeypatch.setattr(session, "run", noted)
        images = make_images(card, count)

        outputs = runner.run({"image": images})

    assert_answers(outputs, images)
    assert sizes == batches


WRONG = {
    "exactly one, named 'image'": {"pixels": np.zeros((9, 16, 32, 3), np.uint8)},
    "image is float32": {"image": np.zeros((9, 16, 32, 3), np.float32)},
    r"image has shape \[9, 3, 16, 32\]: \[N, 16, 32, 3\]": {"image": np.zeros((9, 3, 16, 32), np.uint8)},
    r"image has shape \[16, 32, 3\]": {"image": np.zeros((16, 32, 3), np.uint8)},
    "batch of 1: this model takes 2 to 4": {"image": np.zeros((1, 16, 32, 3), np.uint8)},
    "batch of 0": {"image": np.zeros((0, 16, 32, 3), np.uint8)},
    "image is list": {"image": [[1]]},
    "inputs are": {"image": np.zeros((9, 16, 32, 3), np.uint8), "more": np.zeros(1)},
}


@pytest.mark.parametrize("message", list(WRONG))
def test_more_images_do_not_weaken_the_checks(message: str, open_runner: Open) -> None:
    card = make_card(2, 4)
    with open_runner(card) as runner:
        with pytest.raises(InputError, match=message):
            runner.run(WRONG[message])  # type: ignore[arg-type]

        image = make_images(card, 2)
        assert_answers(runner.run({"image": image}), image)


def test_an_image_that_is_not_contiguous_is_taken(open_runner: Open) -> None:
    card = make_card(1, 4)
    image = make_images(card, 6)[::2][:, :, ::-1]
    with open_runner(card) as runner:
        assert_answers(runner.run({"image": image}), image)


def test_results_stay_the_callers(open_runner: Open) -> None:
    card = make_card()
    first, second = make_images(card, 1, 1), make_images(card, 1, 2)
    with open_runner(card) as runner:
        kept = runner.run({"image": first})
        runner.run({"image": second})
    assert_answers(kept, first)


def test_threads_get_their_own_answers(open_runner: Open, gpu: SimulatedGpu) -> None:
    card = make_card(1, 3)
    images = [make_images(card, 1 + seed % 3, seed) for seed in range(40)]
    with open_runner(card, contexts=3) as runner, ThreadPoolExecutor(8) as threads:
        assert len(gpu.streams) == 3
        results = list(threads.map(lambda image: runner.run({"image": image}), images, timeout=PATIENCE))

    for image, outputs in zip(images, results, strict=True):
        assert_answers(outputs, image)
    assert gpu.is_empty


def test_results_on_the_gpu_outlive_the_calls_of_other_threads(open_runner: Open, gpu: SimulatedGpu) -> None:
    card = make_card()
    images = [make_images(card, 1, seed) for seed in range(2)]
    step = threading.Barrier(2, timeout=PATIENCE)

    def call(number: int) -> None:
        producer = Producer(gpu, images[number])
        for _ in range(3):
            step.wait()
            mask = runner.run_device(producer)["mask"]
            step.wait()  # now both have a result, of calls that came in any order
            np.testing.assert_array_equal(read_back(mask), answer(images[number])["mask"])

    with open_runner(card, contexts=2) as runner, ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(call, number) for number in range(2)]:
            done.result(PATIENCE)


def test_run_and_run_device_agree_and_take_turns(open_runner: Open, gpu: SimulatedGpu) -> None:
    card = make_card(1, 2)
    with open_runner(card) as runner:
        for seed in range(4):
            image = make_images(card, 1 + seed // 2, seed)
            on_gpu = runner.run_device(Producer(gpu, image))
            assert_answers({name: read_back(array) for name, array in on_gpu.items()}, image)
            assert_answers(runner.run({"image": image}), image)


def test_the_batches_that_run_as_graphs_are_shown(open_runner: Open) -> None:
    card = make_card(1, 3)
    with open_runner(card, contexts=2) as runner:
        assert runner.graph_batches == ()
        for _ in range(2):
            runner.run({"image": make_images(card, 3)})
        assert runner.graph_batches == (3,)


def test_an_error_that_nobody_foresaw_is_one_line_of_ours(open_runner: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    card = make_card()
    with open_runner(card) as runner:

        def fail(_: object) -> None:
            raise RuntimeError("pybind11 says\nthis and that")

        with monkeypatch.context() as patch:
            patch.setattr(runner._sessions[0], "run_device", fail)
            with pytest.raises(SegdinoDeployError, match=r"^tensorrt fp16 engine failed: pybind11 says$"):
                runner.run_device(object())
        image = make_images(card, 1)
        assert_answers(runner.run({"image": image}), image)


def test_a_refusal_while_others_run_is_the_callers_alone(open_runner: Open) -> None:
    card = make_card()
    image = make_images(card, 1)
    with open_runner(card, contexts=2) as runner, ThreadPoolExecutor(4) as threads:
        context: Any = runner._sessions[0]._context
        context.refusals = 3

        def call(_: int) -> str:
            try:
                assert_answers(runner.run({"image": image}), image)
            except SegdinoDeployError as error:
                return str(error)
            return ""

        said = list(threads.map(call, range(30), timeout=PATIENCE))

    assert said.count("TensorRT 10.3 cannot run the fp16 engine: out of memory") == 3
    assert said.count("") == 27
