"""One context with its buffers, run on a GPU that is simulated with a real one's rules."""

from __future__ import annotations

from typing import Any

import pytest

from segdino_deploy.engines.tensorrt.session import Session
from segdino_deploy.engines.tensorrt.tensors import input_tensor, output_tensors
from segdino_deploy.errors import SegdinoDeployError
from tests.engines.run.model import assert_answers, make_card, make_images
from tests.engines.run.simulation import SimulatedContext, SimulatedGpu, context_of, open_session, refused


def test_buffers_hold_the_largest_batch() -> None:
    card = make_card(1, 5, (16, 32), classes=3)

    image, (mask, logits) = input_tensor(card), output_tensors(card)

    assert image.size_of(5) == 5 * 16 * 32 * 3
    assert mask.size_of(5) == 5 * 16 * 32
    assert logits.size_of(5) == 5 * 3 * 16 * 32 * 4
    assert logits.shape_of(2) == (2, 3, 16, 32)
    gpu = SimulatedGpu()
    session = open_session(gpu, card)
    sizes = sorted((image.size_of(5), mask.size_of(5), logits.size_of(5)))
    assert sorted(memory.nbytes for memory in gpu.allocations.values()) == sizes
    assert sorted(memory.nbytes for memory in gpu.pinned.values()) == sizes
    session.close()


@pytest.mark.parametrize("can_capture", [True, False])
def test_every_batch_size_in_any_order_gives_the_engines_answer(can_capture: bool) -> None:
    card = make_card(1, 4)
    gpu = SimulatedGpu(can_capture=can_capture)
    session = open_session(gpu, card)

    for seed, batch in enumerate([1, 1, 1, 4, 4, 4, 2, 1, 1, 4, 3, 3, 3]):
        image = make_images(card, batch, seed)
        assert_answers(session.run(image), image)

    session.close()
    assert gpu.is_empty


def test_buffers_are_made_once() -> None:
    card = make_card(1, 3)
    gpu = SimulatedGpu()
    session = open_session(gpu, card)
    before = len(gpu.allocations), len(gpu.pinned), len(gpu.streams)

    for batch in (1, 3, 2, 3):
        session.run(make_images(card, batch))

    assert (len(gpu.allocations), len(gpu.pinned), len(gpu.streams)) == before
    assert gpu.log.count("allocate") == before[0]


def test_a_graph_is_captured_once_after_an_ordinary_run_and_then_launched() -> None:
    card = make_card(2, 2)
    gpu = SimulatedGpu()
    session = open_session(gpu, card)
    image = make_images(card, 2)

    session.run(image)
    assert (gpu.log.count("capture"), gpu.launches, session.graph_batch) == (0, 0, None)
    for seed in range(3):
        other = make_images(card, 2, seed)
        assert_answers(session.run(other), other)

    assert (gpu.log.count("capture"), gpu.launches, session.graph_batch) == (1, 3, 2)
    assert context_of(session).executions == 2  # the ordinary run, and the captured one


def test_a_graph_goes_with_its_shape() -> None:
    card = make_card(1, 2)
    gpu = SimulatedGpu()
    session = open_session(gpu, card)
    for batch in (1, 1, 2, 1):  # the graph of batch 1 would give nonsense in the end
        image = make_images(card, batch, batch)
        assert_answers(session.run(image), image)

    assert session.graph_batch is None
    assert gpu.graphs == []


def test_an_engine_that_cannot_be_captured_runs_without() -> None:
    card = make_card()
    gpu = SimulatedGpu()
    session = open_session(gpu, card)
    context_of(session).refuses_capture = True

    for seed in range(4):
        image = make_images(card, 1, seed)
        assert_answers(session.run(image), image)

    assert gpu.log.count("capture") == 1
    assert session.graph_batch is None


def test_tensorrt_rtx_captures_by_itself() -> None:
    card = make_card()
    gpu = SimulatedGpu()
    session = open_session(gpu, card, captures_itself=True)

    for _ in range(3):
        session.run(make_images(card, 1))

    assert "capture" not in gpu.log


def test_what_was_said_before_a_run_is_not_the_reason_of_its_failure() -> None:
    card = make_card()
    gpu = SimulatedGpu()
    said = ["what another engine has said"]

    class Context(SimulatedContext):
        def execute_async_v3(self, stream_handle: int) -> bool:
            said.append("out of memory")
            return stream_handle == 0

    create: Any = lambda: Context(gpu, card)  # noqa: E731
    failure = lambda: SegdinoDeployError(said[0])  # noqa: E731
    session = Session(gpu, create, card, failure, captures_itself=False, listen=said.clear)

    with pytest.raises(SegdinoDeployError, match=r"^out of memory$"):
        session.run(make_images(card, 1))


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_refused_run_is_one_error_and_the_next_one_works(bad: int) -> None:
    card = make_card(1, 2)
    gpu = SimulatedGpu()
    session = open_session(gpu, card)
    for _ in range(bad):  # before the first run, after an ordinary one, after a captured one
        session.run(make_images(card, 1))
    context_of(session).refusals = 1

    with pytest.raises(SegdinoDeployError, match="cannot run the engine: it says why"):
        session.run(make_images(card, 2))

    assert not any(gpu.streams.values())
    image = make_images(card, 1, 7)
    assert_answers(session.run(image), image)


def test_whatever_cuda_call_fails_in_a_run_the_next_run_works() -> None:
    card = make_card(1, 2)
    plain = SimulatedGpu()
    session = open_session(plain, card)
    before = len(plain.log)
    batches = (1, 1, 1, 2, 2)
    for batch in batches:
        session.run(make_images(card, batch))
    calls = range(before + 1, len(plain.log) + 1)
    assert len(calls) > 20

    for call in calls:
        gpu = SimulatedGpu()
        session = open_session(gpu, card)
        gpu.fails_at = call
        failures = 0
        for batch in batches:
            try:
                session.run(make_images(card, batch))
            except SegdinoDeployError:
                failures += 1
        image = make_images(card, 2, 9)
        assert_answers(session.run(image), image)
        # a capture that fails is no failure: the engine then runs without
        assert failures == (0 if plain.log[call - 1] == "capture" else 1)
        session.close()
        assert gpu.is_empty


def test_whatever_cuda_call_fails_while_opening_nothing_is_kept() -> None:
    card = make_card(1, 2)
    whole = SimulatedGpu()
    session = open_session(whole, card)
    calls = range(1, len(whole.log) + 1)
    session.close()
    assert len(calls) == 1 + 2 * 3  # a stream, and two buffers for each of three tensors

    for call in calls:
        gpu = SimulatedGpu()
        gpu.fails_at = call
        with pytest.raises(SegdinoDeployError, match="refused by the simulation"):
            open_session(gpu, card)
        assert gpu.is_empty

    gpu = SimulatedGpu()
    with pytest.raises(SegdinoDeployError, match="it says why"):
        Session(gpu, lambda: None, card, refused, captures_itself=False)
    assert gpu.is_empty


def test_closing_goes_from_the_stream_to_the_buffers_and_may_be_repeated() -> None:
    card = make_card()
    gpu = SimulatedGpu()
    session = open_session(gpu, card)
    session.run(make_images(card, 1))
    session.run(make_images(card, 1))
    gpu.log.clear()

    session.close()
    done = list(gpu.log)
    session.close()

    assert done[:3] == ["synchronize", "destroy_graph", "context is gone"]
    assert set(done[3:-1]) == {"free", "free_pinned"}
    assert done[-1] == "destroy_stream"
    assert gpu.log == done
    assert gpu.is_empty


def test_closing_goes_on_after_a_call_that_fails() -> None:
    card = make_card()
    gpu = SimulatedGpu()
    session = open_session(gpu, card)
    gpu.fails_at = len(gpu.log) + 1  # the stream reports an error of a kernel

    session.close()

    assert gpu.is_empty
