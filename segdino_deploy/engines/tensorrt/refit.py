"""New weights into a built engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import onnx
from onnx import TensorProto, numpy_helper

from segdino_deploy.engines.tensorrt.flavours import Flavour, TensorRtModule
from segdino_deploy.engines.tensorrt.messages import Messages
from segdino_deploy.engines.tensorrt.runtime import open_runtime
from segdino_deploy.errors import SegdinoDeployError

if TYPE_CHECKING:
    import tensorrt as trt

CURE = "build it again with --refittable"


def refit_engine(
    flavour: Flavour,
    engine: bytes,
    model: onnx.ModelProto,
    names: Sequence[str],
    options: Mapping[str, Any] | None = None,
) -> bytes:
    """The engine with the weights `names` from `model`, a typed ONNX model of the same graph. Needs a GPU.

    `options`: that the engine was built with, as its receipt names them. The result can be refitted again. Raises
    SegdinoDeployError where the engine does not open, does not know a weight or refuses it.
    """
    api = flavour.load()
    messages = Messages(api)
    runtime = open_runtime(api, messages, options or {})
    opened: trt.ICudaEngine | None = runtime.deserialize_cuda_engine(engine)
    if opened is None:
        raise messages.failure("cannot open the engine", flavour, api.__version__)
    refitter: trt.Refitter = api.Refitter(opened, messages.logger)
    known = set(refitter.get_all_weights())
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    kept = []  # TensorRT reads the arrays when it refits

    def give(name: str) -> None:
        weights, array = _weights(api, constants[name])
        kept.append(array)
        if not refitter.set_named_weights(name, weights):
            raise messages.failure(f"refuses the new {name}", flavour, api.__version__)

    for name in names:
        if name not in known:
            raise SegdinoDeployError(f"the engine cannot exchange {name}: {CURE}")
        give(name)
    for name in refitter.get_missing_weights():  # fused with those that changed
        if name not in constants:
            raise SegdinoDeployError(f"the engine asks for {name}, which is no weight of the model: {CURE}")
        give(name)
    if not refitter.refit_cuda_engine():
        raise messages.failure("cannot exchange the weights", flavour, api.__version__)
    stored = _stored(opened, api)
    if stored is None:
        raise messages.failure("cannot store the engine", flavour, api.__version__)
    return bytes(stored)


def _weights(api: TensorRtModule, tensor: TensorProto) -> tuple[trt.Weights, Any]:
    """For TensorRT, and the array that it points into. numpy has no bfloat16 that TensorRT knows."""
    array = numpy_helper.to_array(tensor)
    if tensor.data_type == TensorProto.BFLOAT16:
        return api.Weights(api.DataType.BF16, array.ctypes.data, array.size), array
    return api.Weights(array), array


def _stored(engine: trt.ICudaEngine, api: TensorRtModule) -> trt.IHostMemory | None:
    """With its weights, and so that they can be exchanged once more, which newer versions do only where asked to."""
    config: trt.ISerializationConfig = engine.create_serialization_config()
    config.clear_flag(api.SerializationFlag.EXCLUDE_WEIGHTS)
    again = getattr(api.SerializationFlag, "INCLUDE_REFIT", None)
    if again is not None:
        config.set_flag(again)
    return engine.serialize_with_config(config)
