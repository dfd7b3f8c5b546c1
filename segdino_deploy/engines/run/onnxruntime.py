"""ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.engines.run.contract import Array, Bound, Runner
from segdino_deploy.engines.tensorrt.tensors import output_tensors
from segdino_deploy.errors import SegdinoDeployError, one_line
from segdino_deploy.export.graph import INPUT
from segdino_deploy.manifest import Engine, ModelCard

if TYPE_CHECKING:
    import onnxruntime as ort


def session_options(threads: int | None = None) -> ort.SessionOptions:
    """Options of every session. `threads`: of one run; ONNX Runtime's own choice (physical cores) where None."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or 0
    # Idle workers must not spin: an application, or another engine beside this one, needs the cores.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def open_session(
    model: Path | bytes,
    threads: int | None = None,
    *,
    options: ort.SessionOptions | None = None,
    reduces_early: bool = False,
    is_int8: bool = False,
) -> ort.InferenceSession:
    """A CPU session of a file or of a serialized model.

    `reduces_early`: for models with reductions of many tensors among their outputs. A tensor is then reduced soon after
    it is made; in the default order all of them live until the end. `is_int8`: a model with Q/DQ. MatMul and Add must
    not become Gemm, for which ONNX Runtime 1.32 has no int8 kernel with a float result: it would compute in float.
    """
    import onnxruntime as ort

    source = model if isinstance(model, bytes) else str(model)
    options = options or session_options(threads)
    if reduces_early:
        options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
    disabled = ["MatMulAddFusion"] if is_int8 else []
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"], disabled_optimizers=disabled)


class OnnxRuntimeRunner(Runner):
    backend = "onnxruntime"
    device = "CPU"

    def __init__(self, card: ModelCard, engine: Engine, path: Path, threads: int | None = None) -> None:
        """`threads`: of one run; ONNX Runtime's own choice (physical cores) where None."""
        super().__init__(card)
        import onnxruntime as ort

        self.precision = engine.precision
        try:
            self._session = open_session(path, threads)
        except Exception as error:  # onnxruntime's exceptions share no public base
            raise SegdinoDeployError(
                f"{path}: ONNX Runtime {ort.__version__} cannot open it: {one_line(error)}"
            ) from error
        self._names = [output.name for output in self._session.get_outputs()]

    def _run(self, image_nhwc: NDArray[np.uint8]) -> dict[str, Array]:
        return dict(zip(self._names, self._session.run(None, {INPUT: image_nhwc}), strict=True))

    def _bind(self, image_nhwc: NDArray[np.uint8]) -> Bound:
        """Input and outputs are arrays that ONNX Runtime reads and writes in place."""
        import onnxruntime as ort

        outputs = {
            tensor.name: ort.OrtValue.ortvalue_from_shape_and_type(
                list(tensor.shape_of(len(image_nhwc))), tensor.dtype.type
            )
            for tensor in output_tensors(self.card)
        }
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(INPUT, ort.OrtValue.ortvalue_from_numpy(image_nhwc))
        for name, value in outputs.items():
            binding.bind_ortvalue_output(name, value)

        def run() -> None:
            self._session.run_with_iobinding(binding)

        def read() -> dict[str, Array]:
            return {name: outputs[name].numpy().copy() for name in self._names}

        return Bound(run, read, keeps=image_nhwc)
