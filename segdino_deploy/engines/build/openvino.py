"""OpenVINO IR, and the inference precision that fits the typed model and this CPU."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from segdino_deploy.engines.build.contract import BuildRequest, BuiltEngine, RunImage
from segdino_deploy.engines.build.options import BuildOptions
from segdino_deploy.engines.lowering.choose import lower
from segdino_deploy.engines.run.contract import Array
from segdino_deploy.engines.run.openvino import compile_options, supports
from segdino_deploy.errors import InputError, SegdinoDeployError, one_line
from segdino_deploy.manifest import ModelCard, Precision
from segdino_deploy.requirements import require_module
from segdino_deploy.timing import every_round, interleave

# What may compute each precision. f32 is always among them: many CPUs offer a 16-bit type that is slower than f32, and
# f32 arithmetic on 16-bit weights is never less accurate. The fastest on this CPU is taken (measured) and recorded.
CANDIDATES = {"fp32": ("f32",), "fp16": ("f32", "f16"), "bf16": ("f32", "bf16"), "int8": ("f32", "bf16")}
ROUNDS = 5


def check() -> None:
    """Raises MissingComponent where OpenVINO is not installed."""
    require_module("openvino", "OpenVINO engines", extra="openvino")


def identify() -> dict[str, str]:
    """Version and device, for the manifest."""
    ov = require_module("openvino", "OpenVINO engines", extra="openvino")
    return {"openvino": ov.__version__, "device": ov.Core().get_property("CPU", "FULL_DEVICE_NAME")}


def check_options(options: BuildOptions, card: ModelCard) -> None:
    """InputError for int8 with a dynamic batch: OpenVINO 2026.4 then gives wrong results for the v2 families."""
    if options.precision == "int8" and not card.batch.is_fixed:
        raise InputError("OpenVINO computes int8 wrongly with a dynamic batch; export with a fixed --batch for it")


def build(request: BuildRequest) -> BuiltEngine:
    """Writes `<name>.xml` and `<name>.bin` in the model's own types.

    Where the precision can be computed in f32 or in a 16-bit type (int8: what surrounds the quantized products), both
    are measured here, interleaved, and the faster one is recorded as the engine's inference precision.
    """
    ov = require_module("openvino", "OpenVINO engines", extra="openvino")
    path = request.directory / f"{request.name}.xml"
    candidates = _candidates(request)
    try:
        measured = _median_ms(request, candidates) if len(candidates) > 1 else {candidates[0]: 0.0}
        inference_precision = min(measured, key=measured.__getitem__)

        def open_canary(model: onnx.ModelProto) -> Callable[[], dict[str, Array]]:
            run = open_model(model, inference_precision)
            return lambda: run(request.canary.image)

        core = ov.Core()
        lowered, lowering = lower(request, "openvino", open_canary)
        model = _read(core, lowered)
        ov.save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        raise SegdinoDeployError(f"OpenVINO {ov.__version__} cannot build it: {one_line(error)}") from error
    receipt: dict[str, Any] = {"operations": len(model.get_ops())}
    if len(measured) > 1:
        receipt["median_ms_by_inference_precision"] = measured
    return BuiltEngine(
        path,
        companions=[path.with_suffix(".bin")],
        built_with=identify(),
        inference_precision=inference_precision,
        receipt=receipt,
        lowering=lowering,
    )


def inference_precisions(precision: Precision) -> list[str]:
    """What may compute a precision on this CPU."""
    core = require_module("openvino", "OpenVINO engines", extra="openvino").Core()
    return [name for name in CANDIDATES[precision] if supports(core, name)]


def open_model(model: onnx.ModelProto, inference_precision: str | None) -> RunImage:
    """Compiles a typed model in memory and gives a function from an image batch to its outputs."""
    core = require_module("openvino", "OpenVINO engines", extra="openvino").Core()
    names = [output.name for output in model.graph.output]
    compiled = core.compile_model(_read(core, model), "CPU", compile_options(inference_precision or "f32"))
    infer = compiled.create_infer_request()

    def run(image_nhwc: NDArray[np.uint8]) -> dict[str, Array]:
        infer.infer([image_nhwc], share_inputs=True)
        return {name: infer.get_tensor(name).data.copy() for name in names}

    return run


def _candidates(request: BuildRequest) -> list[str]:
    fitting = inference_precisions(request.precision)
    wanted = request.inference_precision
    if wanted is not None and wanted not in fitting:
        raise InputError(f"{request.precision} cannot be computed in {wanted} here, only in {', '.join(fitting)}")
    return fitting if wanted is None else [wanted]


def _median_ms(request: BuildRequest, precisions: Sequence[str]) -> dict[str, float]:
    """Median milliseconds of the canary per inference precision, one run of each in turn."""
    runs = {precision: open_model(request.model, precision) for precision in precisions}
    image = request.canary.image
    samples = interleave({n: every_round(partial(run, image)) for n, run in runs.items()}, ROUNDS, warmup=1)
    return {precision: round(statistics.median(values), 3) for precision, values in samples.items()}


def _read(core: Any, model: onnx.ModelProto) -> Any:
    """OpenVINO's form of an ONNX model, by way of a file: its reader from memory copies the weights more often."""
    with tempfile.NamedTemporaryFile(suffix=".onnx") as source:
        source.write(model.SerializeToString())
        source.flush()
        return core.read_model(source.name)
