"""The driver is asked about the GPU that the calling thread works on, and a thread gets back what it had."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from segdino_deploy import gpu as module
from segdino_deploy.gpu import COMPUTE_CAPABILITY_MAJOR, current_gpu, find_gpu

NO_CONTEXT = 201  # CUDA_ERROR_INVALID_CONTEXT
CONTEXTS = {0: 0x1000, 1: 0x2000}  # primary ones, by GPU


class Driver:
    """Two GPUs. `stack`: contexts of the calling thread; `made`: GPUs on which a context was made."""

    def __init__(self) -> None:
        self.stack: list[int] = []
        self.made: list[int] = []

    def cuInit(self, _: int) -> int:  # noqa: N802  (the driver's names; so below)
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = 2
        return 0

    def cuCtxGetDevice(self, device: Any) -> int:  # noqa: N802
        if not self.stack:
            return NO_CONTEXT
        device._obj.value = next(number for number, at in CONTEXTS.items() if at == self.stack[-1])
        return 0

    def cuDeviceGet(self, device: Any, number: int) -> int:  # noqa: N802
        device._obj.value = number
        return 0

    def cuDeviceGetName(self, name: Any, _size: int, device: Any) -> int:  # noqa: N802
        name.value = f"GPU {device.value}".encode()
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:  # noqa: N802
        value._obj.value = 8 + device.value if attribute == COMPUTE_CAPABILITY_MAJOR else 9
        return 0

    def cuDeviceTotalMem_v2(self, size: Any, _device: Any) -> int:  # noqa: N802
        size._obj.value = 2**30
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = 13010
        return 0

    def cuDevicePrimaryCtxRetain(self, context: Any, device: Any) -> int:  # noqa: N802
        self.made.append(device.value)
        context._obj.value = CONTEXTS[device.value]
        return 0

    def cuCtxPushCurrent_v2(self, context: ctypes.c_void_p) -> int:  # noqa: N802
        self.stack.append(context.value or 0)
        return 0

    def cuCtxPopCurrent_v2(self, context: Any) -> int:  # noqa: N802
        context._obj.value = self.stack.pop()
        return 0


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    driver = Driver()
    monkeypatch.setattr(module, "_driver", lambda: driver)
    monkeypatch.setattr(module, "_primary_contexts", {})
    return driver


def test_it_is_the_calling_threads_gpu_that_is_described(driver: Driver) -> None:
    first = find_gpu()
    driver.stack = [CONTEXTS[1]]
    second = find_gpu()

    assert first is not None
    assert second is not None
    assert (first.name, first.compute_capability, first.cuda, first.count) == ("GPU 0", "8.9", "13.1", 2)
    assert (second.name, second.compute_capability) == ("GPU 1", "9.9")
    assert driver.made == []  # asking makes no context, which would take memory


@pytest.mark.parametrize("before", [[], [CONTEXTS[0]]])
def test_a_thread_gets_back_the_context_that_it_had_or_none(before: list[int], driver: Driver) -> None:
    driver.stack = list(before)

    for _ in range(2):
        with pytest.raises(ValueError, match="inside"), current_gpu(1):
            assert driver.stack == [*before, CONTEXTS[1]]
            raise ValueError("inside")

    assert driver.stack == before
    assert driver.made == [1]  # once, and never on the other GPU
