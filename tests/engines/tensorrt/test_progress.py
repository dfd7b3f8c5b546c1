"""Nested build phases as one count; the phases are those of a real TensorRT-RTX build."""

from __future__ import annotations

import pytest

from segdino_deploy.engines.tensorrt.flavours import FLAVOURS
from segdino_deploy.engines.tensorrt.messages import Messages
from segdino_deploy.engines.tensorrt.progress import STEPS, Phases, make_monitor
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
    config.progress_monitor = make_monitor(api, "building", lambda *count: seen.append(count))

    assert builder.build_serialized_network(network, config) is not None

    done = [entry[1] for entry in seen]
    assert done == sorted(done)
    assert len(set(done)) >= 5
    assert {(stage, total) for stage, _, total in seen} == {("building", STEPS)}
    assert STEPS / 2 < done[-1] < STEPS  # it ends with the engine's file
