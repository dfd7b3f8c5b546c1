"""OpenVINO on the CPU, in the inference precision that the engine's receipt states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.engines.run.contract import Array, Bound, Runner
from segdino_deploy.engines.run.pool import Pool
from segdino_deploy.errors import MissingComponent, SegdinoDeployError, one_line
from segdino_deploy.manifest import Engine, ModelCard
from segdino_deploy.requirements import require_module

CAPABILITY = {"f32": "FP32", "bf16": "BF16", "f16": "FP16"}  # inference precision -> what the device must offer


def compile_options(inference_precision: str, threads: int | None = None) -> dict[str, Any]:
    """Options of every compilation. `threads`: of one run; OpenVINO's own choice (physical cores) where None."""
    options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": inference_precision}
    return options | {"INFERENCE_NUM_THREADS": threads} if threads else options


class OpenVinoRunner(Runner):
    backend = "openvino"
    device = "CPU"

    def __init__(self, card: ModelCard, engine: Engine, path: Path, threads: int | None = None) -> None:
        """`threads`: of one run; OpenVINO's own choice (physical cores) where None.

        Raises MissingComponent where the CPU does not have the engine's inference precision: OpenVINO would emulate
        or replace it silently.
        """
        super().__init__(card)
        ov = require_module("openvino", "OpenVINO engines", extra="openvino")
        self.precision = engine.precision
        wanted = engine.inference_precision or "f32"
        core = ov.Core()
        if not supports(core, wanted):
            raise MissingComponent(
                f"{path}: was built to compute in {wanted}, which this CPU does not have; build it here: "
                f"segdino-deploy build-engine --{engine.precision} --backend openvino"
            )
        try:
            compiled = core.compile_model(str(path), "CPU", compile_options(wanted, threads))
        except RuntimeError as error:
            raise SegdinoDeployError(f"{path}: OpenVINO {ov.__version__} cannot open it: {one_line(error)}") from error
        self._names = [_name_of(output.get_names(), card) for output in compiled.outputs]
        self.compiled = compiled  # OpenVINO's own object, for its properties and counters
        # A request refuses a second caller. More requests than OpenVINO computes well at once would be slower: each
        # calling thread brings worker threads of its own.
        requests = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._pool = Pool([compiled.create_infer_request() for _ in range(requests)])

    def _run(self, image_nhwc: NDArray[np.uint8]) -> dict[str, Array]:
        with self._pool.borrow() as request:
            request.infer([image_nhwc], share_inputs=True, share_outputs=True)
            return self._outputs_of(request)

    def _bind(self, image_nhwc: NDArray[np.uint8]) -> Bound:
        """A request of its own, whose input tensor is the array."""
        import openvino as ov

        request = self.compiled.create_infer_request()
        request.set_input_tensor(ov.Tensor(image_nhwc, shared_memory=True))

        def run() -> None:
            request.infer(share_outputs=True)

        return Bound(run, lambda: self._outputs_of(request), keeps=image_nhwc)  # which the request does not keep

    def _outputs_of(self, request: Any) -> dict[str, Array]:
        """Copies: the request's next run writes over its own."""
        return {name: request.get_output_tensor(i).data.copy() for i, name in enumerate(self._names)}

    def close(self) -> None:
        """Waits for running calls."""
        self._pool.close()


def _name_of(names: set[str], card: ModelCard) -> str:
    """OpenVINO may know one tensor under several names: the one that is an output of the model."""
    return next(name for name in card.output_names if name in names)


def supports(core: Any, inference_precision: str) -> bool:
    """Whether the CPU computes in `f32`, `bf16` or `f16` by itself."""
    return CAPABILITY[inference_precision] in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
