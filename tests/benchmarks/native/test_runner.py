"""An engine behind a pipe: what comes back, and what is said when it does not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from segdino_deploy.benchmarks.latency.rounds import measure_speed
from segdino_deploy.benchmarks.latency.throughput import measure_throughput
from segdino_deploy.benchmarks.native.program import find_program
from segdino_deploy.benchmarks.native.runner import NativeRunner
from segdino_deploy.bundle import Bundle
from segdino_deploy.errors import InputError, MissingComponent, SegdinoDeployError
from segdino_deploy.export.graph import INPUT
from segdino_deploy.manifest import Engine, Manifest
from tests.benchmarks.latency.fakes import FakeRunner
from tests.benchmarks.native.fake_program import BEHAVIOURS, write_program
from tests.engines.run.model import assert_answers, make_card, make_images

CARD = make_card(1, 4)
Open = Callable[[str], NativeRunner]


def fake_manifest() -> Manifest:
    """With an engine for each behaviour."""
    engine = Engine(file="e.xml", backend="openvino", precision="fp32", source="model.onnx", built_with={})
    return Manifest.model_construct(model=CARD, engines=dict.fromkeys(BEHAVIOURS, engine))


@pytest.fixture
def open_native(tmp_path: Path) -> Iterator[Open]:
    """Opens an engine with the program that stands in, by how it is to behave."""
    program = find_program(write_program(tmp_path))
    with ExitStack() as stack:
        yield lambda engine: stack.enter_context(
            NativeRunner(Bundle(tmp_path, fake_manifest()), engine, program, f"{engine} (C++)")
        )


@pytest.mark.parametrize("batch", [1, 3])
def test_outputs_come_back_as_they_were_made(batch: int, open_native: Open) -> None:
    image = make_images(CARD, batch)

    runner = open_native("sound")

    assert_answers(runner.run({INPUT: image}), image)
    assert (runner.backend, runner.precision, runner.device) == ("openvino", "fp32", "a CPU")
    with pytest.raises(InputError, match="batch of 5: this model takes 1 to 4"):
        runner.run({INPUT: make_images(CARD, 5)})
    runner.run({INPUT: image})["mask"][:] = 0  # the caller's own
    assert_answers(runner.run({INPUT: image}), image)


def test_an_image_that_is_not_contiguous_arrives_whole(open_native: Open) -> None:
    image = make_images(CARD, 2)[:, :, ::-1]

    assert_answers(open_native("sound").run({INPUT: image}), image)


def test_threads_take_turns(open_native: Open) -> None:
    runner = open_native("sound")
    images = [make_images(CARD, 1, seed) for seed in range(40)]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda image: runner.run({INPUT: image}), images))

    for answer, image in zip(answers, images, strict=True):
        assert_answers(answer, image)


def test_what_does_not_open_says_why(open_native: Open) -> None:
    with pytest.raises(MissingComponent, match=r"^OpenVINO was left out of this build$"):
        open_native("absent")


def test_an_error_is_told_in_one_line_and_the_next_question_is_answered(open_native: Open) -> None:
    runner = open_native("refuses")
    for _ in range(2):
        with pytest.raises(SegdinoDeployError, match=r"^openvino fp32 engine failed: no memory$"):
            runner.run({INPUT: make_images(CARD, 1)})
    assert runner.turn(3).with_copies_ms == 4


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("dies", r"^dies \(C\+\+\): its process has ended with status -9: a library talks$"),
        ("short", r"^short \(C\+\+\): its process has ended with status 3: a library talks$"),
    ],
)
def test_a_process_that_ends_is_told_with_its_last_words(behaviour: str, said: str, open_native: Open) -> None:
    runner = open_native(behaviour)
    for _ in range(2):  # the second time nothing is there to talk to
        with pytest.raises(SegdinoDeployError, match=said):
            runner.run({INPUT: make_images(CARD, 1)})


def test_an_answer_that_cannot_be_understood_is_told(open_native: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segdino_deploy.benchmarks.native.child.ENDS_WITHIN_S", 0.2)
    runner = open_native("garbled")

    with pytest.raises(SegdinoDeployError, match=r"^garbled \(C\+\+\): its process gave an answer that cannot be"):
        runner.run({INPUT: make_images(CARD, 1)})


def test_closing_ends_the_process_even_one_that_hangs(open_native: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segdino_deploy.benchmarks.native.child.ENDS_WITHIN_S", 0.2)
    runner = open_native("sound")
    os.kill(runner.process_id, signal.SIGSTOP)

    runner.close()
    runner.close()

    with pytest.raises(ProcessLookupError):
        os.kill(runner.process_id, 0)
    with pytest.raises(SegdinoDeployError):
        runner.run({INPUT: make_images(CARD, 1)})


def test_times_are_those_that_the_process_has_taken(open_native: Open) -> None:
    began = time.perf_counter()
    runner = open_native("sound")
    images = [make_images(CARD, 2)]

    samples = measure_speed({"python": FakeRunner(CARD), "C++": runner}, images, [], rounds=3, warmup=2)["C++"]

    assert time.perf_counter() - began < 60
    assert samples.engine_only_ms == [0.5, 1.5, 2.5]
    assert samples.with_copies_ms == [1, 2, 3]
    assert [one.total_ms for one in samples.files] == [10] * 3


def test_the_calls_of_the_processs_own_threads_are_counted(open_native: Open) -> None:
    runner = open_native("sound")

    (one, three) = measure_throughput(runner, [make_images(CARD, 2)], [2], [1, 3], 1.0)

    assert (one.batch, one.callers) == (2, 1)
    assert one.images_per_second == pytest.approx(20)  # a call of 2 images every 0.1 s
    assert three.images_per_second == pytest.approx(60)
    assert three.call.p50_ms == pytest.approx(100)
    assert len(one.call.samples_ms) == 10  # those that ended within the second
