"""Nested build phases as one count; the phases are those of a real TensorRT-RTX build."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from segdino_deploy.engines.tensorrt.flavours import FLAVOURS
from segdino_deploy.engines.tensorrt.messages import Messages
from segdino_deploy.engines.tensorrt.progress import STEPS, Phases, monitored
from tests.engines.tensorrt.helpers import small_network

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")


def test_a_step_inside_a_phase_is_a_part_of_the_phases_step() -> None:
    phases = Phases()
    phases.start("build", None, 2)
    phases.start("parse", "build", 4)
    phases.step("parse", 0)
    assert phases.share == pytest.approx(1 / 8)
    phases.step("parse", 3)
    phases.finish("parse")
    phases.step("build", 0)
    assert phases.share == pytest.approx(1 / 2)
    phases.start("compile", "build", 1)
    phases.step("compile", 0)
    assert phases.share == pytest.approx(1)


def test_the_share_never_falls_and_unknown_phases_are_no_error() -> None:
    phases = Phases()
    phases.step("nothing", 3)
    phases.start("a", None, 1)
    phases.step("a", 0)
    phases.finish("a")
    phases.start("b", None, 10)
    phases.step("b", 0)
    assert phases.share == 1
    phases.finish("never started")


def test_a_real_build_counts_up_to_its_end() -> None:
    api = FLAVOURS["tensorrt-rtx"].load()
    seen: list[tuple[str, int, int]] = []
    builder, network, _keep = small_network(api, Messages(api))
    config = builder.create_builder_config()

    with monitored(api, "building", lambda *count: seen.append(count)) as config.progress_monitor:
        assert builder.build_serialized_network(network, config) is not None

    done = [entry[1] for entry in seen]
    assert done == sorted(done)
    assert len(set(done)) >= 5
    assert {(stage, total) for stage, _, total in seen} == {("building", STEPS)}
    assert STEPS / 2 < done[-1] < STEPS  # it ends with the engine's file


def test_an_interruption_ends_the_build_and_is_kept_for_who_asked_for_it() -> None:
    api = FLAVOURS["tensorrt-rtx"].load()
    seen: list[int] = []

    def interrupt(_stage: str, done: int, _total: int) -> None:
        seen.append(done)
        if len(seen) >= 3:
            raise KeyboardInterrupt

    builder, network, _keep = small_network(api, Messages(api))
    config = builder.create_builder_config()
    built: list[object] = []

    with pytest.raises(KeyboardInterrupt), monitored(api, "building", interrupt) as config.progress_monitor:
        built.append(builder.build_serialized_network(network, config))

    assert built == [None]
    assert len(seen) == 3


def test_phases_may_be_told_by_several_threads_at_once() -> None:
    api = FLAVOURS["tensorrt-rtx"].load()
    inside, overlaps = threading.Lock(), []
    seen: list[int] = []

    def count(_stage: str, done: int, _total: int) -> None:
        if not inside.acquire(blocking=False):
            overlaps.append(done)
            return
        time.sleep(0.001)  # so that others come meanwhile
        seen.append(done)
        inside.release()

    def compile_one(number: int) -> None:
        monitor.phase_start(f"part {number}", "build", 10)
        for step in range(10):
            assert monitor.step_complete(f"part {number}", step)
        monitor.phase_finish(f"part {number}")
        monitor.step_complete("build", number)

    monitor: Any
    with monitored(api, "building", count) as monitor, ThreadPoolExecutor(8) as threads:
        monitor.phase_start("build", None, 8)
        list(threads.map(compile_one, range(8), timeout=20.0))

    assert overlaps == []
    assert seen == sorted(seen)
