"""CUDA packages behind one interface: which is taken, and that no refusal of CUDA is lost."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segdino_deploy.engines.run import device_memory
from segdino_deploy.engines.run.device_memory import open_device_memory
from segdino_deploy.engines.run.device_memory.contract import DeviceMemory
from segdino_deploy.engines.run.device_memory.cuda_python import SPELLINGS, CudaPythonMemory
from segdino_deploy.errors import MissingComponent, SegdinoDeployError
from segdino_deploy.gpu import find_gpu


def import_any_spelling() -> ModuleType | None:
    for name in SPELLINGS:
        with suppress(ImportError):
            return importlib.import_module(name)
    return None


def test_without_a_package_the_install_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_memory, "_has", lambda _: False)

    with pytest.raises(MissingComponent) as caught:
        open_device_memory()

    assert str(caught.value) == (
        "memory on the GPU: neither cuda-python nor pycuda is installed; pip install 'segdino-deploy[tensorrt]', "
        "or only pip install cuda-python"
    )


@pytest.mark.parametrize(
    ("installed", "taken"),
    [
        ({"cuda.bindings.runtime", "cuda.cudart", "pycuda.driver"}, "cuda.bindings.runtime"),
        ({"cuda.cudart", "pycuda.driver"}, "cuda.cudart"),
        ({"pycuda.driver"}, "pycuda.driver"),
    ],
)
def test_cuda_python_comes_first_in_either_spelling(
    installed: set[str], taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def load(name: str, _purpose: str, *, extra: str) -> ModuleType:
        asked.append(name)
        raise MissingComponent(extra)

    monkeypatch.setattr(device_memory, "_has", lambda name: name in installed)
    monkeypatch.setattr(device_memory, "require_module", load)

    with pytest.raises(MissingComponent, match=r"^(tensorrt|pycuda)$"):
        open_device_memory()

    assert asked == [taken]


def test_a_missing_parent_package_is_a_missing_package() -> None:
    assert not device_memory._has("no_such_package.at.all")


class Status(int):
    """A status of CUDA's runtime, as cuda-python gives them."""

    name = "cudaErrorMemoryAllocation"


class Refusing:
    """CUDA's runtime, where nothing works: every function gives a status, and its results as None."""

    cudaMemoryType = SimpleNamespace(cudaMemoryTypeDevice=2, cudaMemoryTypeManaged=3)  # noqa: N815
    cudaMemcpyKind = SimpleNamespace(  # noqa: N815
        cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2, cudaMemcpyDeviceToDevice=3
    )
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)  # noqa: N815

    def __getattr__(self, name: str) -> Callable[..., tuple[Any, ...]]:
        if name == "cudaGetErrorString":
            return lambda _: (0, b"out of memory")
        return lambda *_: (Status(2), None)


HOST = np.zeros(16, np.uint8)
CALLS: dict[str, tuple[str, Callable[[DeviceMemory], object]]] = {
    "allocate": ("cudaMalloc", lambda m: m.allocate(10**6)),
    "free": ("cudaFree", lambda m: m.free(4096)),
    "allocate_pinned": ("cudaHostAlloc", lambda m: m.allocate_pinned(10**6)),
    "free_pinned": ("cudaFreeHost", lambda m: m.free_pinned(HOST)),
    "free_bytes": ("cudaMemGetInfo", lambda m: m.free_bytes()),
    "device_of": ("cudaPointerGetAttributes", lambda m: m.device_of(4096)),
    "create_stream": ("cudaStreamCreateWithFlags", lambda m: m.create_stream()),
    "destroy_stream": ("cudaStreamDestroy", lambda m: m.destroy_stream(5)),
    "synchronize": ("cudaStreamSynchronize", lambda m: m.synchronize(5)),
    "wait_for": ("cudaEventCreateWithFlags", lambda m: m.wait_for(5, 1)),
    "copy_to_device": ("cudaMemcpyAsync", lambda m: m.copy_to_device(4096, HOST, 5)),
    "copy_to_host": ("cudaMemcpyAsync", lambda m: m.copy_to_host(HOST, 4096, 5)),
    "copy_on_device": ("cudaMemcpyAsync", lambda m: m.copy_on_device(4096, 8192, 16, 5)),
    "capture": ("cudaStreamBeginCapture", lambda m: m.capture(5, lambda: None)),
    "launch": ("cudaGraphLaunch", lambda m: m.launch(5, 5)),
    "destroy_graph": ("cudaGraphExecDestroy", lambda m: m.destroy_graph(5)),
    "create_event": ("cudaEventCreate", lambda m: m.create_event()),
    "record": ("cudaEventRecord", lambda m: m.record(5, 5)),
    "elapsed_ms": ("cudaEventSynchronize", lambda m: m.elapsed_ms(5, 5)),
    "destroy_event": ("cudaEventDestroy", lambda m: m.destroy_event(5)),
    "active": ("cudaGetDevice", lambda m: m.active().__enter__()),
}


def unopened(runtime: Any) -> CudaPythonMemory:
    """The adapter without its opening, which needs a GPU."""
    memory = CudaPythonMemory.__new__(CudaPythonMemory)
    memory._runtime, memory.device = runtime, 0
    return memory


def test_every_call_is_in_the_list() -> None:
    public = {name for name in vars(DeviceMemory) if not name.startswith("_")}
    assert public == set(CALLS)


@pytest.mark.parametrize("name", list(CALLS))
def test_every_refusal_is_an_error_with_the_calls_name_and_cudas_text(name: str) -> None:
    cuda_name, call = CALLS[name]

    with pytest.raises(SegdinoDeployError, match=f"^{cuda_name}: out of memory \\(cudaErrorMemoryAllocation\\)"):
        call(unopened(Refusing()))


@pytest.mark.parametrize("name", list(CALLS))
def test_the_same_with_nvidias_own_package(name: str) -> None:
    runtime = import_any_spelling()
    if runtime is None:
        pytest.skip("cuda-python is not installed")
    if find_gpu() is not None:
        pytest.skip("says what happens without an NVIDIA GPU")
    cuda_name, call = CALLS[name]

    with pytest.raises(SegdinoDeployError, match=rf"^{cuda_name}: CUDA driver version .* \(cudaError\w+\)$"):
        call(unopened(runtime))


def test_a_driver_that_is_not_fit_is_told_when_opening() -> None:
    with pytest.raises(MissingComponent, match=r"this machine's driver \(cudaGetDevice: out of .*; install the cuda-p"):
        CudaPythonMemory(Refusing())  # type: ignore[arg-type]


def test_what_is_free_is_the_first_of_cudas_two_numbers() -> None:
    class Telling(Refusing):
        def cudaMemGetInfo(self) -> tuple[int, int, int]:  # noqa: N802
            return 0, 300, 1000  # status, free, total

    assert unopened(Telling()).free_bytes() == 300


def test_no_memory_says_how_much_was_asked_for_and_the_cure() -> None:
    with pytest.raises(SegdinoDeployError, match=r"1\.0 MB were asked for; close other programs, or use fewer cont"):
        unopened(Refusing()).allocate(10**6)


class Capturing(Refusing):
    """A runtime that captures, and notes what is left behind."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., tuple[Any, ...]]:
        def call(*_: Any) -> tuple[Any, ...]:
            self.calls.append(name)
            return (0, "graph") if name in ("cudaStreamEndCapture", "cudaGraphInstantiate") else (0,)

        return call


def test_a_capture_that_fails_in_its_middle_is_ended() -> None:
    runtime = Capturing()

    def fail() -> None:
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        unopened(runtime).capture(5, fail)

    assert runtime.calls == ["cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphDestroy"]
    runtime.calls.clear()
    assert unopened(runtime).capture(5, lambda: None) == "graph"
    assert runtime.calls[-2:] == ["cudaGraphInstantiate", "cudaGraphDestroy"]


def test_a_thread_on_another_gpu_gets_it_back_without_a_context_being_made_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtime = Capturing()
    entered: list[int] = []

    @contextmanager
    def current_gpu(number: int) -> Iterator[None]:
        entered.append(number)
        yield
        entered.append(-number)

    monkeypatch.setattr("segdino_deploy.engines.run.device_memory.cuda_python.current_gpu", current_gpu)
    monkeypatch.setattr(runtime, "cudaGetDevice", lambda: (0, 0), raising=False)
    memory = unopened(runtime)
    with memory.active():
        pass
    assert entered == []
    memory.device = 1
    with memory.active():
        assert entered == [1]

    assert entered == [1, -1]
    assert "cudaSetDevice" not in runtime.calls
