"""Sessions of TensorRT as contestants, on the simulated GPU."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from segdino_deploy.benchmarks.gpu.clock import CudaClock
from segdino_deploy.benchmarks.gpu.contestants.tensorrt import ImageOnGpu, SessionContestant, open_engine
from segdino_deploy.benchmarks.gpu.contestants.timed_memory import TimedMemory
from segdino_deploy.benchmarks.gpu.device import open_device
from segdino_deploy.engines.tensorrt.session import Session
from segdino_deploy.errors import MissingComponent, SegdinoDeployError
from segdino_deploy.gpu import has_gpu
from segdino_deploy.manifest import Engine, ModelCard
from tests.benchmarks.gpu.simulated import TickingGpu
from tests.engines.run.model import assert_answers, make_card, make_images
from tests.engines.run.simulation import SimulatedContext, refused

CARD = make_card(2, 2)


def open_contestant(gpu: TickingGpu, card: ModelCard, *, captures_itself: bool = False) -> SessionContestant:
    clock = CudaClock(gpu, buffer_bytes=256)
    memory = TimedMemory(gpu, clock)
    with gpu.active(), ExitStack() as stack:
        stack.callback(clock.close)
        create = lambda: SimulatedContext(gpu, card)  # noqa: E731
        session = Session(memory, create, card, refused, captures_itself=captures_itself)  # type: ignore[arg-type]
        stack.callback(session.close)
        image = ImageOnGpu(memory, make_images(card, card.batch.max))
        stack.callback(image.close)
        return SessionContestant(session, image, memory, clock, stack.pop_all())


@pytest.mark.parametrize("captures_itself", [False, True])
def test_the_device_time_is_what_a_run_takes_there_and_in_its_graph(captures_itself: bool) -> None:
    """One engine run takes one millisecond there, as does every copy, and TensorRT-RTX gets a copy of the image."""
    gpu = TickingGpu()
    contestant = open_contestant(gpu, CARD, captures_itself=captures_itself)

    contestant.settle()
    contestant.lead_ms = 2.5
    launches, copies = gpu.launches, gpu.log.count("copy_on_device")
    times = [contestant.device_ms() for _ in range(3)]

    assert times == [2.0 if captures_itself else 1.0] * 3
    assert gpu.launches - launches == (0 if captures_itself else 3)
    to_keep_the_stream_busy = 3 * 3
    assert gpu.log.count("copy_on_device") - copies == to_keep_the_stream_busy + (3 if captures_itself else 0)


def test_both_ways_answer_and_only_one_is_timed() -> None:
    gpu = TickingGpu()
    contestant = open_contestant(gpu, CARD)
    timed, other = make_images(CARD, 2), make_images(CARD, 2, seed=1)

    assert_answers(contestant.device_answer(), timed)
    marks = gpu.log.count("record")
    assert_answers(contestant.run(other), other)
    assert gpu.log.count("record") == marks
    assert_answers(contestant.device_answer(), timed)


def test_a_closed_contestant_keeps_nothing() -> None:
    gpu = TickingGpu()
    contestant = open_contestant(gpu, CARD)
    contestant.settle()

    contestant.close()
    contestant.close()

    assert gpu.is_empty


def test_a_run_that_fails_is_an_error_and_the_next_one_is_right() -> None:
    gpu = TickingGpu()
    contestant = open_contestant(gpu, CARD)
    contestant.settle()

    gpu.fails_at = len(gpu.log) + 1
    with pytest.raises(SegdinoDeployError, match="refused by the simulation"):
        contestant.device_ms()

    assert contestant.device_ms() == 1.0
    assert_answers(contestant.device_answer(), make_images(CARD, 2))


def test_an_image_that_finds_no_memory_keeps_nothing() -> None:
    gpu = TickingGpu()
    for at in range(1, 5):  # stream, memory, pinned memory, copy
        gpu.log.clear()
        gpu.fails_at = at
        with pytest.raises(SegdinoDeployError):
            ImageOnGpu(gpu, make_images(CARD, 2))
        assert gpu.is_empty


@pytest.mark.skipif(has_gpu(), reason="this machine has a GPU")
def test_an_engine_without_a_gpu_is_one_line(tmp_path: Path) -> None:
    engine = Engine(file="x.rtx", backend="tensorrt-rtx", precision="fp16", source="x.onnx", built_with={})

    with pytest.raises(MissingComponent, match="tensorrt-rtx engines: no usable NVIDIA GPU here"):
        open_engine(CARD, engine, tmp_path / "x.rtx", open_device("cpu"), np.zeros((2, 16, 32, 3), np.uint8))
