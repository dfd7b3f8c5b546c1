"""ONNX Runtime with its CUDA provider, launch by launch or as a captured CUDA graph."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.benchmarks.gpu.contestants.contract import Contestant, Outputs
from segdino_deploy.benchmarks.gpu.device import Device
from segdino_deploy.engines.run.onnxruntime import session_options
from segdino_deploy.engines.tensorrt.tensors import output_tensors
from segdino_deploy.errors import MissingComponent, SegdinoDeployError
from segdino_deploy.export.graph import INPUT
from segdino_deploy.manifest import ModelCard

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
NO_FALLBACK = "session.disable_cpu_ep_fallback"
FELL_BACK = "fallback to CPU EP has been explicitly disabled"  # part of the error that this option makes
NO_WAITING = "disable_synchronize_execution_providers"


def check(device: Device, *, captures: bool) -> None:
    """MissingComponent where the installed ONNX Runtime has no CUDA provider. `captures`: as a CUDA graph."""
    import onnxruntime as ort

    if device.kind == "cpu":
        if captures:
            raise MissingComponent("onnxruntime: CUDA graphs need a GPU")
    elif CUDA not in ort.get_available_providers():
        raise MissingComponent(
            f"onnxruntime {ort.__version__} has no CUDA provider; pip uninstall onnxruntime, then pip install "
            "onnxruntime-gpu"
        )


class OnnxRuntimeContestant(Contestant):
    """Inputs and outputs are bound to memory on the device, and nothing but the CUDA provider computes there.

    Where it has no kernel for a node, that one runs on the processor, which is noted. The replay of a CUDA graph may
    wait inside: the device time then holds the way back to Python.
    """

    def __init__(
        self, model: Path, card: ModelCard, device: Device, image_nhwc: NDArray[np.uint8], *, captures: bool = False
    ) -> None:
        """Raises as `open_on_gpu` does; nothing is kept then."""
        import onnxruntime as ort

        super().__init__(device.clock)
        self.engine_mib = model.stat().st_size / 2**20
        self._is_stand_in = device.kind == "cpu"
        with ExitStack() as stack:
            self._stream = stack.enter_context(device.stream())
            stack.callback(self._let_go)
            if self._is_stand_in:
                self._session = ort.InferenceSession(str(model), session_options(), providers=[CPU])
            else:
                self._session, self.notes = open_on_gpu(model, self._stream, captures=captures)
            self._image = ort.OrtValue.ortvalue_from_numpy(image_nhwc.copy(), device.kind, 0)
            self._outputs = {
                tensor.name: ort.OrtValue.ortvalue_from_shape_and_type(
                    list(tensor.shape_of(len(image_nhwc))), tensor.dtype.type, device.kind, 0
                )
                for tensor in output_tensors(card)
            }
            self._binding = self._session.io_binding()
            self._binding.bind_ortvalue_input(INPUT, self._image)
            for name, value in self._outputs.items():
                self._binding.bind_ortvalue_output(name, value)
            self._without_waiting = ort.RunOptions()
            self._without_waiting.add_run_config_entry(NO_WAITING, "1")
            self._resources = stack.pop_all()

    def device_ms(self) -> float:
        self.clock.begin(self._stream, self.lead_ms)
        self._session.run_with_iobinding(self._binding, self._without_waiting)
        self.clock.end(self._stream)
        return self.clock.elapsed_ms()

    def device_answer(self) -> Outputs:
        self.device_ms()
        return self._read_back()

    def run(self, image_nhwc: NDArray[np.uint8]) -> Outputs:
        self._image.update_inplace(image_nhwc)
        self._session.run_with_iobinding(self._binding)
        return self._read_back()

    def _read_back(self) -> Outputs:
        """From a GPU that is a copy already; in host memory it is ONNX Runtime's own array."""
        arrays = {name: value.numpy() for name, value in self._outputs.items()}
        return {name: array.copy() for name, array in arrays.items()} if self._is_stand_in else arrays

    def close(self) -> None:
        self._resources.close()

    def _let_go(self) -> None:
        """The last references, before the stream goes."""
        for name in ("_binding", "_outputs", "_image", "_session"):
            self.__dict__.pop(name, None)


def provider_options(stream: int, *, captures: bool) -> dict[str, str]:
    """Of the CUDA provider: on our stream, fp32 means fp32, memory as it is needed."""
    return {
        "device_id": "0",
        "user_compute_stream": str(stream),
        "use_tf32": "0",
        "arena_extend_strategy": "kSameAsRequested",
        "enable_cuda_graph": str(int(captures)),
    }


def open_on_gpu(model: Path, stream: int, *, captures: bool) -> tuple[Any, list[str]]:
    """A session of the CUDA provider, and what is to be said of it.

    SegdinoDeployError where ONNX Runtime leaves that provider out, which is only a warning to it.
    """
    import onnxruntime as ort

    if hasattr(ort, "preload_dlls"):  # of CUDA and cuDNN, where they were installed as Python packages
        ort.preload_dlls()
    provider = (CUDA, provider_options(stream, captures=captures))
    strict = session_options()
    strict.add_session_config_entry(NO_FALLBACK, "1")
    notes = []
    # enable_fallback: of Python's own, which would try again on the processor
    try:
        session = ort.InferenceSession(str(model), strict, providers=[provider], enable_fallback=0)
    except Exception as error:  # onnxruntime's exceptions share no public base
        if FELL_BACK not in str(error):
            raise
        providers = [provider, CPU]
        session = ort.InferenceSession(str(model), session_options(), providers=providers, enable_fallback=0)
        notes.append("some nodes run on the processor: the CUDA provider has no kernels for them")
    if session.get_providers()[0] != CUDA:
        raise SegdinoDeployError(
            f"ONNX Runtime {ort.__version__} cannot load its CUDA provider; install the CUDA and cuDNN it was built for"
        )
    return session, notes
