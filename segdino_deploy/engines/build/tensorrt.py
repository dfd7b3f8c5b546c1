"""TensorRT and TensorRT-RTX from one piece of code: the module is the only difference that matters here.

Networks are strongly typed: precision is what the ONNX file says, never a builder flag.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from segdino_deploy.engines.build.contract import BuildRequest, BuiltEngine
from segdino_deploy.engines.lowering.choose import lower
from segdino_deploy.errors import MissingComponent, SegdinoDeployError, one_line
from segdino_deploy.evidence import require
from segdino_deploy.export.graph import INPUT
from segdino_deploy.export.verify import measure_parity
from segdino_deploy.requirements import require_module

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
SUFFIX = {"tensorrt": "plan", "tensorrt-rtx": "rtx"}


def check(flavour: str) -> None:
    """Raises MissingComponent, with the install line, where the flavour's module is not installed or has no GPU."""
    module = require_module(MODULES[flavour], f"{flavour} engines", extra=flavour)
    if flavour == "tensorrt":  # TensorRT-RTX builds ahead of time without a GPU; TensorRT times kernels on one
        try:
            usable = bool(module.Builder(_make_logger(module, [])))
        except Exception as error:
            raise MissingComponent(f"tensorrt engines: no usable NVIDIA GPU here ({one_line(error)})") from error
        if not usable:
            raise MissingComponent("tensorrt engines: no usable NVIDIA GPU here; build on the target device")


def build(request: BuildRequest, flavour: str) -> BuiltEngine:
    """Parses the typed model and builds a serialized engine, `<name>.plan` or `<name>.rtx`.

    Raises SegdinoDeployError with every parser error (node, operator, text), or with the builder's own messages.
    """
    trt: Any = require_module(MODULES[flavour], f"{flavour} engines", extra=flavour)
    messages: list[str] = []
    builder = trt.Builder(_make_logger(trt, messages))
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, _make_logger(trt, messages))
    model, lowering = lower(request, flavour, None)
    if lowering and request.precision != "bf16":  # which ONNX Runtime has no kernels for
        for record in measure_parity(model, request.precision, request.canary, request.card.thresholds):
            require(record)
    if not parser.parse(model.SerializeToString()):
        raise SegdinoDeployError(f"{flavour} {trt.__version__} cannot read the model: {_parser_errors(parser)}")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # fp32 means fp32
    batch = request.card.batch
    if not batch.is_fixed:
        height, width = request.card.input_size
        profile = builder.create_optimization_profile()
        profile.set_shape(INPUT, *[(n, height, width, 3) for n in (batch.min, batch.opt, batch.max)])
        config.add_optimization_profile(profile)
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        reason = messages[-1] if messages else "no message"
        raise SegdinoDeployError(f"{flavour} {trt.__version__} cannot build the engine: {one_line(Exception(reason))}")
    path = request.directory / f"{request.name}.{SUFFIX[flavour]}"
    with path.open("wb") as file:
        file.write(serialized)
    return BuiltEngine(
        path,
        built_with={MODULES[flavour]: trt.__version__},
        receipt={
            "network_layers": network.num_layers,
            "layer_types": _count(network, lambda layer: str(layer.type).rpartition(".")[2]),
            "layer_precisions": _count(network, _output_type),
            "warnings": messages[:50],
        },
        lowering=lowering,
    )


def _count(network: Any, key: Any) -> dict[str, int]:
    counts = Counter(key(network.get_layer(index)) for index in range(network.num_layers))
    return dict(sorted(counts.items()))


def _output_type(layer: Any) -> str:
    return str(layer.get_output_type(0)).rpartition(".")[2].lower() if layer.num_outputs else "none"


def _parser_errors(parser: Any, limit: int = 5) -> str:
    lines = []
    for index in range(min(parser.num_errors, limit)):
        error = parser.get_error(index)
        lines.append(f"{error.node_name() or 'graph'} ({error.node_operator()}): {one_line(Exception(error.desc()))}")
    rest = parser.num_errors - limit
    return "; ".join(lines) + (f"; and {rest} more" if rest > 0 else "")


def _make_logger(trt: Any, messages: list[str]) -> Any:
    """A logger that keeps warnings and errors for the receipt instead of printing them."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.WARNING and message not in messages:
                messages.append(message)

    return Logger()
