"""Marks around the device's work, and nothing else between them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from segdino_deploy.benchmarks.gpu.clock import LEAD_MARGIN_MS, MAX_LEAD_MS, CudaClock, HostClock
from segdino_deploy.errors import SegdinoDeployError
from tests.benchmarks.gpu.simulated import TickingGpu


@pytest.fixture
def gpu() -> TickingGpu:
    return TickingGpu()


@pytest.fixture
def clock(gpu: TickingGpu) -> Iterator[CudaClock]:
    clock = CudaClock(gpu, buffer_bytes=256)
    yield clock
    clock.close()


@pytest.mark.parametrize(("lead_ms", "copies"), [(0.0, 0), (0.4, 1), (2.5, 3)])
def test_the_stream_is_busy_before_and_the_time_is_of_the_work_alone(
    gpu: TickingGpu, clock: CudaClock, lead_ms: float, copies: int
) -> None:
    """One copy takes one millisecond there."""
    with gpu.active():
        stream = gpu.create_stream()
    before = gpu.log.count("copy_on_device")

    clock.begin(stream, lead_ms)
    for _ in range(5):
        gpu.put(stream, lambda: None)
    clock.end(stream)

    assert clock.elapsed_ms() == 5.0
    assert gpu.log.count("copy_on_device") - before == copies
    assert 0 < clock.gap_ms < 1000


def test_the_lead_covers_the_processors_part_but_not_without_end(clock: CudaClock) -> None:
    assert clock.lead_for(4.0) == pytest.approx(6.0 + LEAD_MARGIN_MS)
    assert clock.lead_for(0.0) > 0
    assert clock.lead_for(1e6) == MAX_LEAD_MS


def test_a_closed_clock_has_given_everything_back(gpu: TickingGpu) -> None:
    clock = CudaClock(gpu, buffer_bytes=256)

    clock.close()
    clock.close()

    assert gpu.is_empty


@pytest.mark.parametrize(
    ("refused", "nth"), [("allocate", 1), ("allocate", 2), ("create_stream", 1), ("record", 1), ("copy_on_device", 1)]
)
def test_a_clock_that_cannot_be_made_keeps_nothing(gpu: TickingGpu, refused: str, nth: int) -> None:
    probe = TickingGpu()
    CudaClock(probe, buffer_bytes=256)
    gpu.fails_at = probe.log.index(refused) + 1 + (nth - 1)

    with pytest.raises(SegdinoDeployError):
        CudaClock(gpu, buffer_bytes=256)

    assert gpu.is_empty


def test_the_stand_ins_clock_times_the_call() -> None:
    clock = HostClock()
    clock.begin(0, clock.lead_for(3.0))
    sum(range(1000))
    clock.end(0)

    assert 0 < clock.elapsed_ms() == clock.gap_ms
