"""The TensorRT backend of the C++ library on a simulated GPU: built without NVIDIA's headers, driven through ctypes."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ctypes import byref, c_char_p, c_double, c_int, c_long, c_size_t, c_void_p
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from numpy.typing import NDArray

from segdino_deploy.atomic import sha256_of
from segdino_deploy.engines.tensorrt.flavours import FLAVOURS
from segdino_deploy.machine import usable_threads
from segdino_deploy.manifest import Engine, FileRecord, Manifest, ModelCard
from tests.cpp.building import BUILDS, CPP, compiler

SIMULATION = CPP / "tests" / "simulation"
OF_PRODUCT = [*sorted((CPP / "src" / "engine").glob("tensorrt*.cpp")), CPP / "src" / "engine" / "backends.cpp"]
OF_BOTH = [
    *sorted(SIMULATION.glob("*.cpp")),
    CPP / "tests" / "probe_error.cpp",
    *(CPP / "src" / "engine" / f"{name}.cpp" for name in ("cuda", "mapped_file", "tensors")),
    *sorted((CPP / "src" / "bundle").glob("*.cpp")),
    *(CPP / "src" / f"{name}.cpp" for name in ("errors", "text")),
]
FLAGS = ["-std=c++17", "-O1", "-g", "-fPIC", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
PRODUCTS = {"tensorrt": "SEGDINO_WITH_TENSORRT", "tensorrt-rtx": "SEGDINO_WITH_TENSORRT_RTX"}
UINT8, FLOAT32 = 5, 0  # nvinfer1::DataType

Outputs = dict[str, NDArray[Any]]


class Refused(Exception):
    """What the library threw."""


class InputError(Refused):
    status = 2


class MissingComponent(Refused):
    status = 3


class EngineError(Refused):
    status = 4


ERRORS: dict[int, type[Refused]] = {error.status: error for error in (InputError, MissingComponent, EngineError)}


def build_simulation(backend: str) -> Path:
    """The library's backend, the simulation and its probes as one shared library. Skips without a compiler."""
    headers = find_spec("nlohmann_json")
    json = [f"-I{Path(headers.origin).parent / 'include'}"] if headers is not None and headers.origin else []
    includes = [*(f"-I{path}" for path in (CPP / "include", CPP / "src", SIMULATION)), *json]
    definitions = [f"-D{PRODUCTS[backend]}", "-DSEGDINO_WITH_NVONNXPARSER"]
    folder = BUILDS / "cpp-simulation"
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / f"lib{backend}.so"
    newest = _newest_header()

    def compiled(source: Path) -> Path:
        is_of_product = source in OF_PRODUCT
        target = folder / f"{f'{backend}-' if is_of_product else ''}{source.parent.name}-{source.stem}.o"
        if not target.is_file() or target.stat().st_mtime < max(newest, source.stat().st_mtime):
            given = definitions if is_of_product else []
            _run([compiler(), *FLAGS, *given, *includes, "-c", source, "-o", target])
        return target

    with FileLock(BUILDS / "cpp-simulation.lock"), ThreadPoolExecutor(usable_threads()) as threads:
        objects = list(threads.map(compiled, [*OF_PRODUCT, *OF_BOTH]))
        link = ["-shared", "-Wl,--no-undefined", "-pthread", "-o", library]
        _run([compiler(), *objects, *link, "-lcrypto", "-lz"])
    return library


def _newest_header() -> float:
    """When a header of these was changed last."""
    folders = (CPP / "src", CPP / "include", CPP / "tests")
    found = (path for folder in folders for path in folder.rglob("*") if path.suffix in (".h", ".hpp"))
    return max(path.stat().st_mtime for path in found)


def _run(command: Sequence[object]) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    for header, package in (("openssl/", "libssl-dev"), ("zlib.h", "zlib1g-dev"), ("nlohmann/", "nlohmann-json3-dev")):
        if header in done.stderr and "No such file" in done.stderr:
            pytest.skip(f"{package} is not installed")
    assert done.returncode == 0, done.stderr


class Simulation:
    """The world of the simulated GPUs: what is set for it, and what it has seen."""

    def __init__(self, library: Path) -> None:
        self.library = ctypes.CDLL(str(library))
        for name in ("probe_error", "probe_device"):
            getattr(self.library, name).restype = c_char_p
        for name in ("probe_close", "probe_device"):
            getattr(self.library, name).argtypes = [c_void_p]
        self.library.simulation_set.argtypes = [c_char_p, c_long]

    def reset(self) -> None:
        self.library.simulation_reset()

    def set(self, **values: int) -> None:
        """`gpus`, `contexts_left`, `refuses_capture`, `validity`, `fails_at` (a call from now on, the first is 1)."""
        for name, value in values.items():
            offset = len(self.log) if name == "fails_at" and value else 0
            self.library.simulation_set(name.encode(), offset + value)

    def refuse(self, message: str, times: int = 1, *, on_a_thread_of_its_own: bool = False) -> None:
        """The next executions."""
        self.library.simulation_refuse(times, message.encode(), on_a_thread_of_its_own)

    def between(self, work: Callable[[], None]) -> None:
        """Runs `work` inside the next execution."""
        self._interlude = ctypes.CFUNCTYPE(None)(work)
        self.library.simulation_interlude(self._interlude)

    @property
    def log(self) -> list[str]:
        """Calls that took, moved or released something, in order."""
        return self._told()[0]

    @property
    def violations(self) -> list[str]:
        return self._told()[1]

    def _told(self) -> tuple[list[str], list[str]]:
        log: list[str] = []
        violations: list[str] = []
        to = ctypes.CFUNCTYPE(None, c_char_p)
        self.library.simulation_tell(
            to(lambda text: log.append(text.decode())), to(lambda text: violations.append(text.decode()))
        )
        return log, violations

    @property
    def is_empty(self) -> bool:
        """Nothing that was taken is still there."""
        return bool(self.library.simulation_is_empty())

    @property
    def graphs(self) -> int:
        return int(self.library.simulation_executables())

    def check(self, status: int) -> None:
        if status:
            raise ERRORS[status](self.library.probe_error().decode())

    def open(self, card: ModelCard, engine: Engine, folder: Path) -> Opened:
        """The engine of a bundle at `folder`, where its file is, or is not."""
        files = {name: _file_record(folder / name) for name in (engine.file, engine.source)}
        manifest = Manifest(tool_version="0", model=card, engines={"e": engine}, files=files).model_dump_json()
        handle = c_void_p()
        self.check(self.library.probe_open(manifest.encode(), str(folder).encode(), byref(handle)))
        return Opened(self, handle, card)

    # CUDA itself, for tests that are an application

    def cuda(self, name: str, *arguments: Any) -> None:
        assert getattr(self.library, name)(*arguments) == 0, name

    @property
    def gpu(self) -> int:
        """The calling thread's."""
        number = c_int()
        self.cuda("cudaGetDevice", byref(number))
        return number.value

    @gpu.setter
    def gpu(self, number: int) -> None:
        self.cuda("cudaSetDevice", c_int(number))


class Opened:
    """An engine that the library has opened."""

    def __init__(self, world: Simulation, handle: c_void_p, card: ModelCard) -> None:
        self.world, self.handle, self.card = world, handle, card
        self.engine_ms = 0.0

    def share(self) -> Opened:
        handle = c_void_p()
        self.world.check(self.world.library.probe_share(self.handle, byref(handle)))
        return Opened(self.world, handle, self.card)

    def close(self) -> None:
        self.world.library.probe_close(self.handle)

    @property
    def device(self) -> str:
        said: bytes = self.world.library.probe_device(self.handle)
        return said.decode()

    def run(self, image: NDArray[np.uint8]) -> Outputs:
        """uint8 `[N, H, W, 3]` to copies of the outputs."""
        took, mask, logits = c_double(), c_void_p(), c_void_p()
        data, size = image.ctypes.data_as(c_void_p), c_size_t(image.nbytes)
        given = (byref(took), byref(mask), byref(logits))
        self.world.check(self.world.library.probe_run(self.handle, len(image), data, size, *given))
        self.engine_ms = took.value
        return self.view({"mask": mask.value or 0, "logits": logits.value or 0}, len(image))

    def run_device(self, address: int, batch: int, stream: int | None = None) -> Outputs:
        """An image batch on the GPU to copies of the outputs there."""
        found: dict[str, tuple[int, int]] = {}
        say = ctypes.CFUNCTYPE(None, c_char_p, c_void_p, c_size_t)(
            lambda name, place, size: found.update({name.decode(): (place, size)})
        )
        self.world.check(
            self.world.library.probe_run_device(self.handle, batch, c_void_p(address), c_void_p(stream), say)
        )
        outputs = self.view({name: place for name, (place, _) in found.items()}, batch)
        assert {name: array.nbytes for name, array in outputs.items()} == {n: size for n, (_, size) in found.items()}
        return outputs

    def view(self, places: dict[str, int], batch: int) -> Outputs:
        height, width = self.card.input_size
        shapes = {"mask": (batch, height, width), "logits": (batch, 3, height, width)}
        types: dict[str, Any] = {"mask": ctypes.c_uint8, "logits": ctypes.c_float}
        return {
            name: np.ctypeslib.as_array((types[name] * int(np.prod(shapes[name]))).from_address(place))
            .reshape(shapes[name])
            .copy()
            for name, place in places.items()
        }


VERSION = "10.3.0.26"  # of the simulated libraries
BUILT_HERE = {"tensorrt": VERSION, "tensorrt_rtx": VERSION, "compute_capability": "8.9"}


def record(backend: str = "tensorrt", built_with: dict[str, str] | None = None, **options: Any) -> Engine:
    """The manifest's record of an fp16 engine; without `built_with`: of one that was built here."""
    return Engine(
        file=f"engines/x.{FLAVOURS[backend].suffix}",
        backend=backend,
        precision="fp16",
        source="model.fp16.onnx",
        built_with=BUILT_HERE if built_with is None else built_with,
        receipt={"options": options} if options else {},
    )


class OnGpu:
    """An image batch that an application has put on a simulated GPU; `offset` bytes behind an aligned address."""

    def __init__(self, world: Simulation, image: NDArray[np.uint8], offset: int = 0) -> None:
        self.world, self.base, self.bytes = world, c_void_p(), image.nbytes
        world.cuda("cudaMalloc", byref(self.base), c_size_t(image.nbytes + offset))
        self.address = (self.base.value or 0) + offset
        self.put(image)

    def put(self, image: NDArray[np.uint8]) -> None:
        ctypes.memmove(self.address, image.ctypes.data, self.bytes)

    def free(self) -> None:
        self.world.cuda("cudaFree", self.base)


def plan_of(card: ModelCard, changes: Mapping[str, str] | None = None, *, largest: int | None = None) -> str:
    """A simulated engine's file. `changes`: other words for some of its tensors, empty for one that it has not."""
    batch = card.batch.max if card.batch.is_fixed else -1
    height, width = card.input_size
    tensors = {
        "image": f"image input {UINT8} 4 {batch} {height} {width} 3",
        "mask": f"mask output {UINT8} 3 {batch} {height} {width}",
        "logits": f"logits output {FLOAT32} 4 {batch} 3 {height} {width}",
    }
    words = [f"tensor {text}" for text in {**tensors, **(changes or {})}.values() if text]
    return "\n".join([f"simulated {card.batch.min} {largest or card.batch.max}", *words, ""])


def _file_record(path: Path) -> FileRecord:
    return FileRecord(sha256=sha256_of(path) if path.is_file() else "0" * 64, size_bytes=1)


@contextmanager
def on_gpu(world: Simulation, number: int) -> Iterator[None]:
    before, world.gpu = world.gpu, number
    yield
    world.gpu = before
