"""TensorRT and TensorRT-RTX on an NVIDIA GPU."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.engines.run.bound_session import BoundSession
from segdino_deploy.engines.run.contract import Array, Bound, Runner, check_image, run_padded
from segdino_deploy.engines.run.device_memory import DeviceMemory, open_device_memory
from segdino_deploy.engines.run.pool import Pool
from segdino_deploy.engines.tensorrt.interfaces import DeviceArray
from segdino_deploy.engines.tensorrt.loading import load_engine, require_runnable
from segdino_deploy.engines.tensorrt.opening import open_session
from segdino_deploy.engines.tensorrt.runtime_cache import RuntimeCache, cache_file
from segdino_deploy.engines.tensorrt.session import Session
from segdino_deploy.errors import InputError, SegdinoDeployError, one_line
from segdino_deploy.export.graph import INPUT
from segdino_deploy.manifest import BatchRange, Engine, ModelCard

AnySession = TypeVar("AnySession", bound=Session)


class TensorRtRunner(Runner):
    """Runs one engine for any number of threads, `contexts` of them at the same time; the others wait.

    `device` is the GPU's name. `memory` is CUDA's, for programs that time with its events.
    """

    def __init__(
        self, card: ModelCard, engine: Engine, path: Path, threads: int | None = None, *, contexts: int = 1
    ) -> None:
        """`threads` means nothing here. Each of the `contexts` takes GPU memory of its own.

        Raises MissingComponent (no GPU, another one, another version, no TensorRT or CUDA for Python), InputError (a
        file that is no engine of this model), SegdinoDeployError (what TensorRT or CUDA refuse). Nothing is kept then.
        """
        del threads
        super().__init__(card)
        if contexts < 1:
            raise InputError(f"contexts: {contexts} is below 1")
        self.backend = engine.backend
        self.precision = engine.precision
        gpu = require_runnable(engine, path)
        self.device = f"{gpu.name} (compute capability {gpu.compute_capability})"
        self.memory = open_device_memory()
        with self.memory.active(), ExitStack() as stack:
            self._free_before = self.memory.free_bytes()
            try:
                loaded = load_engine(card, engine, path)
                stack.callback(_inside, self.memory, loaded.close)
                cache = None
                if loaded.flavour.compiles_on_device:
                    cache = RuntimeCache(cache_file(path, loaded.api.__version__, gpu.compute_capability))
                    stack.callback(_inside, self.memory, cache.close)
                    stack.callback(_inside, self.memory, cache.save)
                self._loaded, self._cache = loaded, cache
                self._sessions = [self._open_session(Session, stack) for _ in range(contexts)]
                if cache is not None:
                    cache.save()  # now: a process that is killed has not compiled for nothing
            except SegdinoDeployError:
                raise
            except Exception as error:  # the bindings' exceptions share no base
                raise SegdinoDeployError(f"{path}: cannot be opened: {one_line(error)}") from error
            self._pool = Pool(self._sessions)
            stack.callback(self._pool.close)
            # Not a method of this object: it also runs when nobody refers to it any more, and when the process ends.
            self._resources = stack.pop_all()
            self._release = weakref.finalize(self, self._resources.close)

    def _open_session(self, kind: type[AnySession], stack: ExitStack) -> AnySession:
        what = f"cannot run the {self.precision} engine"
        session = open_session(kind, self._loaded, self._cache, self.memory, self.card, what)
        stack.callback(session.close)
        return session

    @property
    def graph_batches(self) -> tuple[int, ...]:
        """Batch sizes that run as a captured CUDA graph now. TensorRT-RTX captures by itself: then there are none."""
        return tuple(sorted({batch for session in self._sessions if (batch := session.graph_batch) is not None}))

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """As every runner, and more images than the model takes at once are run in batches that it takes."""
        image = inputs.get(INPUT)
        batch = self.card.batch
        if not isinstance(image, np.ndarray) or image.ndim != 4 or len(image) <= batch.max:
            return super().run(inputs)
        any_number = BatchRange(min=batch.min, opt=batch.opt, max=len(image))
        return run_padded(self, check_image(inputs, self.card.model_copy(update={"batch": any_number})))

    def _run(self, image_nhwc: NDArray[np.uint8]) -> dict[str, Array]:
        with self._pool.borrow() as session:
            return session.run(image_nhwc)

    def _bind(self, image_nhwc: NDArray[np.uint8]) -> Bound:
        """A context of its own, so that it takes GPU memory as each of the `contexts` does."""
        if not self._release.alive:
            raise SegdinoDeployError("this engine was closed: open it again")
        with self.memory.active(), ExitStack() as stack:
            session = self._open_session(BoundSession, stack)
            session.put(image_nhwc)
            pool = Pool([session])
            stack.callback(pool.close)
            self._resources.callback(stack.pop_all().close)

        def run() -> None:
            with pool.borrow():
                session.run_again()

        def read() -> dict[str, Array]:
            with pool.borrow():
                return session.read()

        return Bound(run, read)

    @property
    def device_memory_mib(self) -> float | None:
        """What the GPU has less of since before the engine was read: engine, contexts, buffers and kernels, without
        what CUDA takes by itself. Other programs on the GPU must hold still; None where they have given memory back.
        """
        with self.memory.active():
            taken = self._free_before - self.memory.free_bytes()
        return taken / 2**20 if taken > 0 else None

    def run_device(self, image: object) -> dict[str, DeviceArray]:
        """An image batch that is on the GPU already, to outputs there; complete when this returns.

        `image`: uint8 `[N, H, W, 3]`, C-contiguous, with `__dlpack__` or `__cuda_array_interface__`; N as the model
        takes it at once. TensorRT reads it where it is, unless its address is no multiple of 256; TensorRT-RTX, whose
        graph is of one address, reads a copy that is made on the GPU. The outputs are valid until
        this thread's next call; where more threads call than there are `contexts`, until anybody's. Before that next
        call whoever reads them must have read, or do so on the stream that the next image is made on.
        Raises InputError for another type, shape, layout or device; the runner stays usable.
        """
        with self._failing_in_one_line(), self._pool.borrow() as session:
            return session.run_device(image)

    def __enter__(self) -> TensorRtRunner:
        return self

    def close(self) -> None:
        """Waits for running calls, then releases contexts, engine and memory. May be called again, from any thread."""
        self._release()


def _inside(memory: DeviceMemory, release: Callable[[], None]) -> None:
    """On the runner's GPU, whichever thread releases."""
    with memory.active():
        release()
