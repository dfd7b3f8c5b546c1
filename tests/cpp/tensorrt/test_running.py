"""Batches from the host: what is run, captured and released, on GPUs that are simulated with real ones' rules."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cpp.tensorrt.conftest import CARD
from tests.cpp.tensorrt.simulation import VERSION, EngineError, Opened, Simulation, plan_of, record
from tests.engines.run.model import assert_answers, make_card, make_images

ENGINE_MS = 2.5  # that the simulated engine takes

Open = Callable[..., Opened]


def test_every_batch_size_in_any_order_gives_the_engines_answer(opened: Open) -> None:
    engine = opened()

    for seed, batch in enumerate([1, 1, 1, 4, 4, 4, 2, 1, 1, 4, 3, 3, 3]):
        image = make_images(CARD, batch, seed)
        assert_answers(engine.run(image), image)
        assert engine.engine_ms == ENGINE_MS  # without the copies, also in the run that captures


def test_memory_is_taken_once_when_the_engine_is_opened(opened: Open, world: Simulation) -> None:
    engine = opened()
    taken = ("malloc", "pin", "create_stream", "create_event", "create_context")
    before = [name for name in world.log if name in taken]

    for batch in (1, 3, 2, 3):
        engine.run(make_images(CARD, batch))

    assert [name for name in world.log if name in taken] == before
    assert (before.count("malloc"), before.count("pin")) == (3, 3)  # image, mask and logits


def test_a_graph_is_captured_once_after_an_ordinary_run_and_then_launched(opened: Open, world: Simulation) -> None:
    engine = opened()
    engine.run(make_images(CARD, 2))
    assert ("capture" in world.log, world.graphs) == (False, 0)

    for seed in range(3):
        image = make_images(CARD, 2, seed)
        assert_answers(engine.run(image), image)

    counts = {name: world.log.count(name) for name in ("capture", "launch", "execute", "synchronize")}
    assert counts == {"capture": 1, "launch": 3, "execute": 2, "synchronize": 4}  # one wait for each run
    engine.run(make_images(CARD, 1))
    assert world.graphs == 0  # gone with its shape


def test_an_engine_that_cannot_be_captured_runs_without(opened: Open, world: Simulation) -> None:
    world.set(refuses_capture=1)
    engine = opened()

    for seed in range(4):
        image = make_images(CARD, 1, seed)
        assert_answers(engine.run(image), image)

    assert (world.log.count("capture"), world.graphs) == (1, 0)


@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_refused_run_is_one_error_in_tensorrts_words_and_the_next_one_works(
    before: int, opened: Open, world: Simulation
) -> None:
    world.set(refuses_capture=1)
    engine = opened()
    for _ in range(before):
        engine.run(make_images(CARD, 1))
    world.refuse("Cask: out of memory\nsecond line")

    with pytest.raises(EngineError) as caught:
        engine.run(make_images(CARD, 1))

    assert str(caught.value) == (
        f"TensorRT {VERSION} cannot run the fp16 engine: Cask: out of memory; "
        "close other programs, or build with --low-memory"
    )
    image = make_images(CARD, 1)
    assert_answers(engine.run(image), image)


def test_a_refusal_without_words_says_so(opened: Open, world: Simulation) -> None:
    engine = opened()
    world.refuse("")

    with pytest.raises(EngineError, match=r"cannot run the fp16 engine: it gives no reason$"):
        engine.run(make_images(CARD, 1))


def test_a_batch_outside_the_engines_profile_is_tensorrts_refusal_in_one_line(opened: Open) -> None:
    engine = opened(plan=plan_of(CARD, largest=2))

    with pytest.raises(EngineError, match=r"cannot run the fp16 engine: the shape is outside the profile$"):
        engine.run(make_images(CARD, 3))

    image = make_images(CARD, 2)
    assert_answers(engine.run(image), image)


def test_whatever_cuda_call_fails_in_a_run_the_next_run_works(opened: Open, world: Simulation) -> None:
    image = make_images(CARD, 2)

    def history(runs: int) -> int:
        """How many calls the last of some runs makes."""
        engine = opened()
        for _ in range(runs - 1):
            engine.run(image)
        before = len(world.log)
        engine.run(image)
        return len(world.log) - before

    for runs in (1, 2, 3):  # an ordinary run, one that captures, one that launches
        for call in range(1, history(runs) + 1):
            engine = opened()
            for _ in range(runs - 1):
                engine.run(image)
            world.set(fails_at=call)
            try:
                assert_answers(engine.run(image), image)  # what is refused to a capture costs no result
            except EngineError as error:
                assert "\n" not in str(error)
            world.set(fails_at=0)
            for seed in range(3):
                other = make_images(CARD, 1 + seed, seed)
                assert_answers(engine.run(other), other)


def test_whatever_call_fails_while_opening_nothing_is_kept(world: Simulation, bundle: Path) -> None:
    (bundle / record().file).write_text(plan_of(CARD))
    world.open(CARD, record(), bundle).close()
    calls = len(world.log)

    messages = []
    for call in range(1, calls + 1):
        world.set(fails_at=call)
        try:
            world.open(CARD, record(), bundle).close()
        except EngineError as error:
            messages.append(str(error))
        world.set(fails_at=0)
        assert world.is_empty
    assert len(messages) == 10  # a stream, three events, three buffers here and there
    assert all("\n" not in message and "(cudaError" in message for message in messages)


def test_no_memory_is_told_with_the_size_and_the_cure(opened: Open, world: Simulation) -> None:
    world.set(fails_at=5)  # streams and events come first

    with pytest.raises(EngineError) as caught:
        opened(make_card(1, 4, (256, 256)))

    assert str(caught.value) == (
        "cudaMalloc: out of memory (cudaErrorMemoryAllocation), 0.8 MB were asked for; "
        "close other programs, or use fewer Segmenters or a smaller batch"
    )


def test_no_memory_for_a_context_is_told_in_tensorrts_words(opened: Open, world: Simulation) -> None:
    world.set(contexts_left=1)
    engine = opened()

    with pytest.raises(EngineError, match="cannot run the fp16 engine: out of memory for a context; close other"):
        engine.share()

    image = make_images(CARD, 1)
    assert_answers(engine.run(image), image)


def test_everything_goes_in_order(world: Simulation, bundle: Path) -> None:
    (bundle / record().file).write_text(plan_of(CARD))
    engine = world.open(CARD, record(), bundle)
    engine.run(make_images(CARD, 2))
    engine.run(make_images(CARD, 2))
    shared = engine.share()
    engine.close()
    image = make_images(CARD, 1)
    assert_answers(shared.run(image), image)  # the engine lives while anybody uses it
    before = len(world.log)

    shared.close()

    gone = [name for name in world.log[before:] if name.endswith("is gone") or name == "destroy_stream"]
    assert gone == ["context is gone", "destroy_stream", "engine is gone", "runtime is gone"]
    assert world.is_empty


def test_contexts_do_not_mark_their_layers_for_a_profiler(opened: Open, world: Simulation) -> None:
    opened()

    assert "no marks" in world.log


def test_threads_that_share_an_engine_get_their_own_answers(opened: Open) -> None:
    first = opened()
    engines = [first, *(first.share() for _ in range(3))]

    def work(number: int) -> None:
        for seed in range(20):
            image = make_images(CARD, 1 + (seed + number) % 4, 100 * number + seed)
            assert_answers(engines[number].run(image), image)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    for engine in engines[1:]:
        engine.close()


def test_an_error_is_told_to_the_thread_that_it_belongs_to(opened: Open, world: Simulation) -> None:
    engine, other = opened(), opened()
    said: list[str] = []

    def fail_elsewhere() -> None:
        world.refuse("theirs")
        with pytest.raises(EngineError) as caught:
            other.run(make_images(CARD, 1))
        said.append(str(caught.value))
        world.refuse("")  # and the execution that this happens in, too

    def run_in_a_thread() -> None:
        thread = threading.Thread(target=fail_elsewhere)
        thread.start()
        thread.join()

    world.between(run_in_a_thread)
    with pytest.raises(EngineError, match=r": it gives no reason$"):
        engine.run(make_images(CARD, 1))
    assert said[0].endswith(": theirs")


def test_what_threads_of_tensorrts_own_say_belongs_to_who_waits_for_them(opened: Open, world: Simulation) -> None:
    engine = opened()
    world.refuse("said elsewhere", on_a_thread_of_its_own=True)
    with pytest.raises(EngineError, match=r": said elsewhere$"):
        engine.run(make_images(CARD, 1))

    world.refuse("")
    with pytest.raises(EngineError, match=r": it gives no reason$"):  # what was said before is not the reason
        engine.run(make_images(CARD, 1))
