"""TensorRT and TensorRT-RTX from one piece of code; what differs stands in `engines.tensorrt.flavours`.

Networks are strongly typed: precision is what the ONNX file says, never a builder flag.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from segdino_deploy.engines.build.contract import BuildRequest, BuiltEngine
from segdino_deploy.engines.lowering.choose import lower
from segdino_deploy.engines.tensorrt.configuring import configure
from segdino_deploy.engines.tensorrt.flavours import FLAVOURS, WORKSPACE_CURES
from segdino_deploy.engines.tensorrt.inspection import read_back
from segdino_deploy.engines.tensorrt.messages import Messages, parser_failure
from segdino_deploy.engines.tensorrt.progress import STEPS, monitored
from segdino_deploy.engines.tensorrt.receipt import (
    layers_of,
    network_receipt,
    require_precisions,
)
from segdino_deploy.engines.tensorrt.timing_cache import read_timing_cache, write_timing_cache
from segdino_deploy.engines.tensorrt.versions import RECEIPT_OPTIONS, built_with, options_for_receipt
from segdino_deploy.engines.tensorrt.weights import head_weights
from segdino_deploy.errors import MissingComponent, SegdinoDeployError, one_line
from segdino_deploy.evidence import require
from segdino_deploy.export.verify import measure_parity
from segdino_deploy.gpu import find_gpu
from segdino_deploy.receipts import weight_products_by_type

if TYPE_CHECKING:
    import tensorrt as trt

BUILDING = "building the engine"


def check(name: str) -> None:
    """Raises MissingComponent, with the install line, where the flavour's module is not installed or has no GPU."""
    flavour = FLAVOURS[name]
    api = flavour.load()
    if flavour.builds_without_gpu:
        return
    cure = "build on the target device, or with --backend tensorrt-rtx"
    if find_gpu() is None:
        raise MissingComponent(f"{name} engines: no usable NVIDIA GPU here; {cure}")
    try:
        api.Builder(Messages(api).logger)
    except Exception as error:
        raise MissingComponent(f"{name} engines: no usable NVIDIA GPU here ({one_line(error)}); {cure}") from error


def identify(name: str) -> dict[str, str]:
    """Version, and the GPU where there is one, for the manifest."""
    flavour = FLAVOURS[name]
    return built_with(flavour, flavour.load().__version__, find_gpu())


def build(request: BuildRequest, name: str) -> BuiltEngine:
    """Parses the typed model and builds a serialized engine, `<name>.plan` or `<name>.rtx`.

    Raises SegdinoDeployError with every parser error (node, operator, text) or with the builder's own message,
    CheckFailed where the network computes in other types than the model.
    """
    flavour, options = FLAVOURS[name], request.tensorrt
    api = flavour.load()
    gpu = find_gpu()
    messages = Messages(api)
    model, lowering = lower(request, name, None)
    builder: trt.Builder = api.Builder(messages.logger)
    network: trt.INetworkDefinition = builder.create_network(1 << int(api.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser: trt.OnnxParser = api.OnnxParser(network, messages.logger)
    if not parser.parse(model.SerializeToString()):
        raise parser_failure(parser, flavour, api.__version__)
    if lowering and request.precision != "bf16":  # which ONNX Runtime has no kernels for
        for record in measure_parity(model, request.precision, request.canary, request.card.thresholds):
            require(record)
    layers = layers_of(network)
    require_precisions(layers, weight_products_by_type(model), request.name)
    if options.refittable:
        mark_refittable(network, head_weights(model))
    config = configure(builder, api, request.card, options)
    notes = [] if options.timing_cache is None else [read_timing_cache(config, options.timing_cache)]
    path = request.directory / f"{request.name}.{flavour.suffix}"
    messages.listen()
    with monitored(api, BUILDING, request.on_count) as config.progress_monitor:
        is_built = _serialize(builder, network, config, path)
    if not is_built:
        cures = () if options.workspace_bytes is None else WORKSPACE_CURES
        raise messages.failure(f"cannot build {request.name}", flavour, api.__version__, cures)
    request.on_count(BUILDING, STEPS, STEPS)
    if options.timing_cache is not None:
        notes.append(write_timing_cache(config, options.timing_cache))
    given = options_for_receipt(options)
    receipt = network_receipt(layers) | {"warnings": messages.for_receipt}
    if gpu is not None:
        inspected, note = read_back(path, api, messages, given, request.card, request.precision)
        receipt |= inspected
        notes.append(note)
    return BuiltEngine(
        path,
        built_with=built_with(flavour, api.__version__, gpu),
        receipt=receipt | ({RECEIPT_OPTIONS: given} if given else {}),
        lowering=lowering,
        notes=[note for note in notes if note],
    )


def mark_refittable(network: trt.INetworkDefinition, names: Sequence[str]) -> None:
    """SegdinoDeployError where TensorRT does not know one of the weights, which could then never be exchanged."""
    for name in names:
        if not network.mark_weights_refittable(name):
            raise SegdinoDeployError(
                f"--refittable: TensorRT does not let {name} be exchanged; leave it out, or build with --lowering none"
            )


def _serialize(builder: trt.Builder, network: trt.INetworkDefinition, config: trt.IBuilderConfig, path: Path) -> bool:
    """Writes the engine; False where the build failed."""
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        return False
    with path.open("wb") as file:
        file.write(serialized)
    return True
