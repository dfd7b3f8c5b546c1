"""PyTorch, eager or compiled: fp32 with TF32 off, 16 bits by autocast."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segdino_deploy.benchmarks.gpu.contestants.contract import Contestant, Outputs
from segdino_deploy.benchmarks.gpu.device import Device
from segdino_deploy.benchmarks.gpu.models import CASE_OUTPUTS
from segdino_deploy.benchmarks.gpu.suite import CompileMode
from segdino_deploy.errors import MissingComponent
from segdino_deploy.manifest import Precision

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def check(device: Device) -> None:
    """MissingComponent where this PyTorch does not reach the GPU."""
    if device.kind == "cuda" and not torch.cuda.is_available():
        raise MissingComponent(f"torch {torch.__version__} reaches no GPU here; install the one for this CUDA version")


class TorchContestant(Contestant):
    """`module`: on the device already, uint8 `[N, H, W, 3]` to (mask, logits); others may use it too."""

    def __init__(
        self,
        module: nn.Module,
        precision: Precision,
        device: Device,
        image_nhwc: NDArray[np.uint8],
        compile_mode: CompileMode | None = None,
    ) -> None:
        """`compile_mode` None: eager."""
        super().__init__(device.clock)
        use_full_fp32()
        self._device = device
        self._dtype = DTYPES.get(precision)
        # fullgraph: what cannot be compiled as a whole is an error, never eager in silence
        self._module: Any = module if compile_mode is None else torch.compile(module, mode=compile_mode, fullgraph=True)
        self._is_compiled = compile_mode is not None
        with ExitStack() as stack:
            self._stream = stack.enter_context(device.stream())
            host = torch.from_numpy(image_nhwc.copy())
            self._staged: Any = host.pin_memory() if device.kind == "cuda" else host
            self._image: Any = host.to(device.kind, copy=True)  # not what `run` stages in
            self._resources = stack.pop_all()

    def settle(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what torch.compile could do better
            super().settle()

    def device_ms(self) -> float:
        self._enqueue_timed()
        return self.clock.elapsed_ms()

    def device_answer(self) -> Outputs:
        outputs = self._enqueue_timed()
        self.clock.elapsed_ms()  # waits
        return _named(output.cpu() for output in outputs)

    def run(self, image_nhwc: NDArray[np.uint8]) -> Outputs:
        """Through pinned memory both ways, as the other runners copy."""
        self._staged.copy_(torch.from_numpy(image_nhwc))
        with self._on_stream():
            outputs = self._forward(self._staged.to(self._device.kind, non_blocking=True))
            if self._device.kind == "cpu":
                return _named(outputs)
            copies = [torch.empty(output.shape, dtype=output.dtype, pin_memory=True) for output in outputs]
            for copy, output in zip(copies, outputs, strict=True):
                copy.copy_(output, non_blocking=True)
            torch.cuda.current_stream().synchronize()
        return {name: array.copy() for name, array in _named(copies).items()}

    def close(self) -> None:
        self._module = self._image = self._staged = None  # before the stream that PyTorch remembers them with
        self._resources.close()

    def _enqueue_timed(self) -> tuple[Tensor, ...]:
        with self._on_stream():
            self.clock.begin(self._stream, self.lead_ms)
            outputs = self._forward(self._image)
            self.clock.end(self._stream)
        return outputs

    def _forward(self, image: Tensor) -> tuple[Tensor, ...]:
        if self._is_compiled:  # nobody reads the outputs of the run before any more
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        with torch.inference_mode(), self._autocast():
            outputs: tuple[Tensor, ...] = self._module(image)
        return outputs

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(self._device.kind, dtype=self._dtype)

    def _on_stream(self) -> AbstractContextManager[Any]:
        if self._device.kind == "cpu":
            return nullcontext()
        return torch.cuda.stream(torch.cuda.ExternalStream(self._stream))  # type: ignore[no-untyped-call]


def empty_cache(device: Device) -> None:
    """Gives back device memory that PyTorch keeps for its next tensors."""
    if device.kind == "cuda" and torch.cuda.is_available():
        torch.cuda.empty_cache()


def forget_compiled() -> None:
    """Compiled code and its CUDA graphs, of modules that nobody runs any more."""
    torch.compiler.reset()


def use_full_fp32() -> None:
    """No TF32 in products and convolutions; convolutions by the kernels that are fastest here."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True


def _named(outputs: Any) -> Outputs:
    return {name: output.numpy() for name, output in zip(CASE_OUTPUTS, outputs, strict=True)}
