"""The TensorRT runner lets go of everything, in the right order, whenever and however it ends."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from segdino_deploy.engines.run import tensorrt as runner_module
from segdino_deploy.engines.run.tensorrt import TensorRtRunner
from segdino_deploy.engines.tensorrt.flavours import FLAVOURS
from segdino_deploy.errors import InputError, SegdinoDeployError
from tests.engines.run.conftest import Loaded
from tests.engines.run.model import assert_answers, make_card, make_images
from tests.engines.run.simulation import Producer, SimulatedContext, SimulatedGpu, context_of

PATIENCE = 20.0  # seconds
Open = Callable[..., TensorRtRunner]


def test_everything_goes_in_order_and_once(open_runner: Open, gpu: SimulatedGpu) -> None:
    card = make_card()
    runner = open_runner(card, contexts=2)
    runner.run({"image": make_images(card, 1)})
    gpu.log.clear()

    runner.close()
    done = list(gpu.log)
    runner.close()

    assert gpu.log == done
    assert gpu.is_empty
    assert done[-1] == "engine is gone"
    contexts = [index for index, entry in enumerate(done) if entry == "context is gone"]
    assert len(contexts) == 2
    assert all(done[index - 1] == "synchronize" for index in contexts)  # no graph was captured
    with pytest.raises(SegdinoDeployError, match="was closed: open it again"):
        runner.run({"image": make_images(card, 1)})
    with pytest.raises(SegdinoDeployError, match="was closed"):
        runner.run_device(object())


def test_a_forgotten_runner_releases_everything(open_runner: Open, gpu: SimulatedGpu) -> None:
    card = make_card()
    runner = open_runner(card)
    mask = runner.run_device(Producer(gpu, make_images(card, 1)))["mask"]
    gpu.allocations.pop(next(reversed(gpu.allocations)))  # the producer's

    del runner
    gc.collect()

    assert gpu.is_empty
    with pytest.raises(SegdinoDeployError, match="is gone"):
        _ = mask.__cuda_array_interface__


def test_closing_while_others_run_waits_for_them(open_runner: Open, gpu: SimulatedGpu) -> None:
    card = make_card()
    image = make_images(card, 1)
    runner = open_runner(card, contexts=2)
    answered = threading.Event()

    def call(_: int) -> bool:
        try:
            assert_answers(runner.run({"image": image}), image)
        except SegdinoDeployError as error:
            assert "was closed" in str(error)
            return False
        answered.set()
        return True

    with ThreadPoolExecutor(6) as threads:
        calls = threads.map(call, range(200), timeout=PATIENCE)
        assert answered.wait(PATIENCE)
        runner.close()
        assert gpu.is_empty
        assert any(calls)


@pytest.mark.parametrize("available", [0, 1, 2])
def test_a_context_too_many_keeps_nothing(available: int, open_runner: Open, gpu: SimulatedGpu) -> None:
    with pytest.raises(SegdinoDeployError, match=r"^TensorRT 10.3 cannot run the fp16 engine: out of memory$"):
        open_runner(make_card(), contexts=3, available=available)

    gc.collect()
    assert gpu.is_empty
    assert gpu.log[-1] == "engine is gone"
    assert gpu.log.count("context is gone") == available


def test_no_memory_for_the_second_context_keeps_nothing(open_runner: Open, gpu: SimulatedGpu) -> None:
    gpu.fails_at = 12  # after the first one's stream and six buffers, among those of the second
    with pytest.raises(SegdinoDeployError, match="refused by the simulation"):
        open_runner(make_card(), contexts=2)

    gc.collect()
    assert gpu.is_empty
    assert gpu.log[-1] == "engine is gone"


def test_what_tensorrt_rtx_compiles_is_kept_as_soon_as_the_engine_is_open(
    open_runner: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[str] = []
    cache = SimpleNamespace(
        context=lambda engine, _: engine.create_execution_context(),
        save=lambda: saved.append("saved"),
        close=lambda: saved.append("closed"),
    )
    monkeypatch.setattr(Loaded, "flavour", FLAVOURS["tensorrt-rtx"])
    monkeypatch.setattr(runner_module, "RuntimeCache", lambda _: cache)
    monkeypatch.setattr(runner_module, "cache_file", lambda *_: None)
    monkeypatch.setattr(Loaded, "api", SimpleNamespace(__version__="1.7"))

    with open_runner(make_card(), contexts=2):
        assert saved == ["saved"]  # also for who is killed before the end

    assert saved == ["saved", "saved", "closed"]


def test_contexts_do_not_mark_their_layers_for_a_profiler(open_runner: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines keep their layers' details, so that contexts would mark every one of them while they run."""
    monkeypatch.setattr(SimulatedContext, "nvtx_verbosity", "detailed", raising=False)
    monkeypatch.setattr(Loaded, "api", SimpleNamespace(ProfilingVerbosity=SimpleNamespace(NONE="none")))

    with open_runner(make_card(), contexts=2) as runner:
        assert [context_of(session).nvtx_verbosity for session in runner._sessions] == ["none", "none"]


@pytest.mark.parametrize("contexts", [0, -1])
def test_less_than_one_context_is_refused(contexts: int, open_runner: Open) -> None:
    with pytest.raises(InputError, match=f"contexts: {contexts} is below 1"):
        open_runner(make_card(), contexts=contexts)
