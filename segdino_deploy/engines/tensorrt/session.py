"""One execution context with its own stream and buffers: what one caller at a time runs an engine with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.engines.run.contract import Array
from segdino_deploy.engines.run.device_memory import DeviceMemory
from segdino_deploy.engines.tensorrt.interfaces import DeviceArray, read_device_image
from segdino_deploy.engines.tensorrt.tensors import Tensor, input_tensor, output_tensors
from segdino_deploy.errors import SegdinoDeployError
from segdino_deploy.export.graph import INPUT
from segdino_deploy.manifest import ModelCard

if TYPE_CHECKING:
    import tensorrt as trt

ALIGNMENT = 256  # bytes, of what TensorRT reads and writes (NvInferRuntime.h, setTensorAddress)
MAX_GRAPHS = 8  # of one shape, for as many input addresses; cameras and allocators go round a few

Failure = Callable[[], SegdinoDeployError]  # the error to raise after TensorRT has refused something


class Session:
    """Runs the engine. Not for two threads at once, and inside its own `memory.active()`.

    `captures_itself`: TensorRT-RTX, which makes CUDA graphs inside and makes them anew for every new address.
    """

    def __init__(
        self,
        memory: DeviceMemory,
        create: Callable[[], trt.IExecutionContext | None],
        card: ModelCard,
        failure: Failure,
        *,
        captures_itself: bool,
        listen: Callable[[], None] = lambda: None,
    ) -> None:
        """Takes a context and the buffers for the largest batch. SegdinoDeployError where there is no memory for them;
        nothing is kept then. `listen` is called before TensorRT is, for whatever `failure` tells then.
        """
        self._memory = memory
        self._card = card
        self._failure = failure
        self._listen = listen
        self._captures_itself = captures_itself
        self._can_capture = memory.can_capture and not captures_itself
        self._input = input_tensor(card)
        self._outputs = output_tensors(card)
        self._graphs: dict[int, Any] = {}  # by the address of the input; of the batch `_batch`
        self._seen: list[int] = []  # addresses of inputs of that batch, the latest ones
        self._batch: int | None = None  # what the context is set to
        self._generation = 0  # calls; results of former ones are gone
        self._on_device: dict[str, int] = {}
        self._pinned: dict[str, NDArray[np.uint8]] = {}
        with memory.active(), ExitStack() as stack:
            self._stream = memory.create_stream()
            stack.callback(memory.destroy_stream, self._stream)
            for tensor in (self._input, *self._outputs):
                self._take_buffers(tensor, stack)
            self._take_context(create, stack)
            outputs = {tensor.name: self._on_device[tensor.name] for tensor in self._outputs}
            bind_outputs(self._context, outputs, failure)
            self._resources = stack.pop_all()

    def _take_context(self, create: Callable[[], trt.IExecutionContext | None], stack: ExitStack) -> None:
        made = create()
        if made is None:
            raise self._failure()
        self._context = made
        stack.callback(self.__dict__.pop, "_context")  # the only reference

    def _take_buffers(self, tensor: Tensor, stack: ExitStack) -> None:
        size = tensor.size_of(self._card.batch.max)
        address = self._memory.allocate(size)
        stack.callback(self._memory.free, address)
        pinned = self._memory.allocate_pinned(size)
        stack.callback(self._memory.free_pinned, pinned)
        self._on_device[tensor.name], self._pinned[tensor.name] = address, pinned

    @property
    def graph_batch(self) -> int | None:
        """The batch size that runs as a captured CUDA graph now."""
        return self._batch if self._graphs else None

    def run(self, image_nhwc: NDArray[np.uint8]) -> dict[str, Array]:
        """uint8 `[N, H, W, 3]`, contiguous, N within the card's batch, to arrays of the caller's own."""
        batch = len(image_nhwc)
        memory, size = self._memory, self._input.size_of(batch)
        with memory.active(), self._recovering():
            self._generation += 1
            staged = self._pinned[INPUT][:size]
            staged[:] = image_nhwc.reshape(-1)  # [N * H * W * 3]
            memory.copy_to_device(self._on_device[INPUT], staged, self._stream)
            self._enqueue(batch, self._on_device[INPUT])
            return self._read_outputs(batch)

    def _read_outputs(self, batch: int) -> dict[str, Array]:
        """Arrays of the caller's own, when everything on the stream is done."""
        staged = {tensor.name: self._pinned[tensor.name][: tensor.size_of(batch)] for tensor in self._outputs}
        for name, array in staged.items():
            self._memory.copy_to_host(array, self._on_device[name], self._stream)
        self._finish()
        return {
            tensor.name: staged[tensor.name].view(tensor.dtype).reshape(tensor.shape_of(batch)).copy()
            for tensor in self._outputs
        }

    def run_device(self, image: object) -> dict[str, DeviceArray]:
        """An image on the GPU to outputs on the GPU, complete, which the session's next call writes over.

        Raises InputError as `read_device_image` does.
        """
        memory = self._memory
        with memory.active():
            found = read_device_image(image, self._card, memory, self._stream)
            with self._recovering():
                self._generation += 1
                if found.producer is not None:
                    memory.wait_for(self._stream, found.producer)
                self._enqueue(found.batch, self._place(found.address, found.batch))
                memory.synchronize(self._stream)  # also: the image may go when we return
        generation = self._generation
        return {
            tensor.name: DeviceArray(
                self._on_device[tensor.name],
                tensor.shape_of(found.batch),
                tensor.dtype,
                self._stream,
                memory.device,
                lambda: self._generation == generation,
            )
            for tensor in self._outputs
        }

    def _place(self, address: int, batch: int) -> int:
        """Where the engine reads an image of the caller's: where it is, unless TensorRT cannot, or could but slowly.

        TensorRT-RTX captures its graph anew for every address that is not the last one's, which takes far longer than
        a copy on the GPU.
        """
        if address % ALIGNMENT == 0 and not self._captures_itself:
            return address
        own = self._on_device[INPUT]
        self._memory.copy_on_device(own, address, self._input.size_of(batch), self._stream)
        return own

    def _enqueue(self, batch: int, address: int) -> None:
        """Puts the engine's work on the stream: as a graph from the second time on that shape and address are these."""
        self._listen()
        if batch != self._batch:
            self._drop_graphs()  # what a context keeps for a shape is in its graphs, and changes with the shape
            set_batch(self._context, self._input.shape_of(batch), self._failure)
            self._batch = batch
        if address not in self._graphs and self._can_capture and address in self._seen:
            self._capture(address)
        if address in self._graphs:
            self._memory.launch(self._graphs[address], self._stream)
            return
        execute(self._context, address, self._stream, self._failure)
        if address not in self._seen:
            self._seen = [*self._seen[1 - MAX_GRAPHS :], address]

    def _capture(self, address: int) -> None:
        """Engines with loops or conditions cannot be captured: then, and after any other refusal, none is."""
        while len(self._graphs) >= MAX_GRAPHS:
            self._memory.destroy_graph(self._graphs.pop(next(iter(self._graphs))))
        try:
            self._graphs[address] = self._memory.capture(
                self._stream, lambda: execute(self._context, address, self._stream, self._failure)
            )
        except SegdinoDeployError:
            self._can_capture = False
            self._failure()  # what TensorRT has said of it must not be taken for the reason of a later error

    def _drop_graphs(self) -> None:
        while self._graphs:
            self._memory.destroy_graph(self._graphs.popitem()[1])
        self._seen = []

    @contextmanager
    def _recovering(self) -> Iterator[None]:
        """After an exception: nothing runs on the buffers any more, and nothing is taken for granted of the context."""
        try:
            yield
        except BaseException:
            self._batch = None
            for release in (self._finish, self._drop_graphs):
                with suppress(SegdinoDeployError):  # the first error is the one to tell
                    release()
            raise

    def close(self) -> None:
        """Waits for the stream, then releases graphs, context, buffers and stream. May be called again."""
        self._generation += 1
        if "_context" not in self.__dict__:
            return
        with self._memory.active():
            for release in (self._finish, self._drop_graphs, self._resources.close):
                with suppress(SegdinoDeployError):  # of a GPU that has failed: there is nothing else to be done
                    release()

    def _finish(self) -> None:
        self._memory.synchronize(self._stream)


def new_context(engine: trt.ICudaEngine) -> trt.IExecutionContext | None:
    """None where there is no memory for it."""
    return engine.create_execution_context()


def bind_outputs(context: trt.IExecutionContext, addresses: dict[str, int], failure: Failure) -> None:
    for name, address in addresses.items():
        if not context.set_tensor_address(name, address):
            raise failure()


def set_batch(context: trt.IExecutionContext, shape: tuple[int, ...], failure: Failure) -> None:
    if not context.set_input_shape(INPUT, shape):
        raise failure()


def execute(context: trt.IExecutionContext, address: int, stream: int, failure: Failure) -> None:
    """Reads the image at `address`, writes the outputs that are bound."""
    if not context.set_tensor_address(INPUT, address) or not context.execute_async_v3(stream):
        raise failure()
