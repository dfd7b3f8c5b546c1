"""ONNX Runtime: the graph after its own fusions, saved once, so that opening it is quick."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import onnx

from segdino_deploy.engines.build.contract import BuildRequest, BuiltEngine, RunImage
from segdino_deploy.engines.build.options import BuildOptions
from segdino_deploy.engines.lowering.choose import lower
from segdino_deploy.engines.run.contract import Array
from segdino_deploy.engines.run.onnxruntime import open_session, session_options
from segdino_deploy.errors import InputError, SegdinoDeployError, one_line
from segdino_deploy.export.graph import INPUT
from segdino_deploy.manifest import ModelCard


def check() -> None:
    """ONNX Runtime is a core dependency: always here."""


def identify() -> dict[str, str]:
    """Version and device, for the manifest."""
    import onnxruntime as ort

    return {"onnxruntime": ort.__version__, "device": "CPU"}


def check_options(options: BuildOptions, _card: ModelCard) -> None:
    """InputError where the CPU provider has no kernels for the precision."""
    if options.precision == "bf16":
        raise InputError("ONNX Runtime's CPU provider has no bf16 kernels; use --backend openvino, or --fp32")


def open_model(model: onnx.ModelProto, _inference_precision: str | None) -> RunImage:
    """Opens a typed model in memory and gives a function from an image batch to its outputs."""
    is_int8 = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    session = open_session(model.SerializeToString(), is_int8=is_int8)
    names = [output.name for output in session.get_outputs()]
    return lambda image: dict(zip(names, session.run(names, {INPUT: image}), strict=True))


def build(request: BuildRequest) -> BuiltEngine:
    """Writes `<name>.onnx`."""
    import onnxruntime as ort

    path = request.directory / f"{request.name}.onnx"

    def open_canary(model: onnx.ModelProto) -> Callable[[], dict[str, Array]]:
        run = open_model(model, None)
        return lambda: run(request.canary.image)

    options = session_options()
    # EXTENDED: the fusions that hold on every CPU. The layout for this very CPU is chosen when the engine is opened.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path)
    try:
        model, lowering = lower(request, "onnxruntime", open_canary)
        open_session(model.SerializeToString(), options=options, is_int8=request.precision == "int8")
    except SegdinoDeployError:
        raise
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise SegdinoDeployError(f"ONNX Runtime {ort.__version__} cannot build it: {one_line(error)}") from error
    operators = Counter(node.op_type for node in onnx.load(path).graph.node)
    receipt: dict[str, object] = {"operators": dict(sorted(operators.items()))}
    if request.precision == "fp16":
        receipt["note"] = "weights rounded to fp16, computed in fp32 where the CPU provider has no fp16 kernel"
    return BuiltEngine(path, built_with=identify(), receipt=receipt, lowering=lowering)
