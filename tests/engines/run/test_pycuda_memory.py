"""Memory through pycuda, with a driver that is simulated: refusals are told, and the calling thread is given back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segdino_deploy.engines.run.device_memory.contract import Bytes
from segdino_deploy.engines.run.device_memory.pycuda import PycudaMemory, _contexts
from segdino_deploy.errors import SegdinoDeployError


class FakeDriver:
    """`pycuda.driver` with one GPU, where memory is host memory; `stack` is the calling thread's contexts."""

    class Error(Exception):
        pass

    class event_flags:  # noqa: N801
        DISABLE_TIMING = 2

    def __init__(self) -> None:
        self.stack: list[object] = []
        driver = self

        class Context:
            def push(self) -> None:
                driver.stack.append(self)

            @staticmethod
            def pop() -> None:
                driver.stack.pop()

            @staticmethod
            def get_current() -> None:
                return None

            @staticmethod
            def synchronize() -> None:
                driver.done.append("whole context")

        class Device:
            def __init__(self, number: int) -> None:
                self.number = number

            def retain_primary_context(self) -> Context:
                return Context()

        class Stream:
            handle = 0x7001

            def __init__(self, flags: int) -> None:
                assert flags == 1

            def wait_for_event(self, _: object) -> None:
                driver.done.append("event")

        self.done: list[str] = []
        self.Context, self.Device, self.Stream = Context, Device, Stream

    def init(self) -> None:
        pass

    def mem_alloc(self, size: int) -> Any:
        raise self.Error(f"cuMemAlloc failed: out of memory\n{size}")

    def pagelocked_empty(self, size: int, dtype: type) -> Bytes:
        return np.empty(size, dtype)

    def mem_get_address_range(self, address: int) -> tuple[int, int]:
        if address != 4096:
            raise self.Error("cuMemGetAddressRange failed: invalid argument")
        return 4096, 16

    def mem_get_info(self) -> tuple[int, int]:
        return 300, 1000  # free, total

    def Event(self, _flags: int = 0) -> Any:  # noqa: N802
        return SimpleNamespace(record=lambda: None)


@pytest.fixture
def pycuda(monkeypatch: pytest.MonkeyPatch) -> tuple[FakeDriver, PycudaMemory]:
    monkeypatch.setattr("segdino_deploy.engines.run.device_memory.pycuda._contexts", {})
    driver = FakeDriver()
    return driver, PycudaMemory(driver)  # type: ignore[arg-type]


def test_pycuda_works_in_the_primary_context_and_gives_the_thread_back(
    pycuda: tuple[FakeDriver, PycudaMemory],
) -> None:
    driver, memory = pycuda
    with memory.active():
        assert len(driver.stack) == 1
        with memory.active():
            assert len(driver.stack) == 2
    assert driver.stack == []
    with pytest.raises(ValueError, match="mine"), memory.active():
        raise ValueError("mine")
    assert driver.stack == []
    assert _contexts == {}  # of this process: untouched


def test_pycudas_refusals_are_one_line_with_the_calls_name(pycuda: tuple[FakeDriver, PycudaMemory]) -> None:
    _, memory = pycuda
    with pytest.raises(SegdinoDeployError, match=r"^cuMemAlloc failed: out of memory$"):
        memory.allocate(5)
    assert memory.device_of(4096) == 0
    assert memory.device_of(1) is None
    assert memory.free_bytes() == 300


def test_pycuda_waits_for_a_foreign_stream_with_the_whole_context(pycuda: tuple[FakeDriver, PycudaMemory]) -> None:
    driver, memory = pycuda
    stream = memory.create_stream()
    assert stream == 0x7001

    memory.wait_for(stream, 1)
    memory.wait_for(stream, 99)

    assert driver.done == ["event", "whole context"]
    assert not memory.can_capture
    with pytest.raises(NotImplementedError, match="pycuda captures no CUDA graphs"):
        memory.capture(stream, lambda: None)
