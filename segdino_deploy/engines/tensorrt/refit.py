"""New weights into a built engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import onnx
from onnx import numpy_helper

from segdino_deploy.engines.tensorrt.flavours import Flavour
from segdino_deploy.engines.tensorrt.messages import Messages
from segdino_deploy.errors import SegdinoDeployError

if TYPE_CHECKING:
    import tensorrt as trt


def refit_engine(flavour: Flavour, engine: bytes, model: onnx.ModelProto, names: Sequence[str]) -> bytes:
    """The engine with the weights `names` from `model`, a typed ONNX model of the same graph. Needs a GPU.

    Raises SegdinoDeployError where the engine does not open, does not know a weight or refuses it.
    """
    api = flavour.load()
    messages = Messages(api)
    runtime: trt.Runtime = api.Runtime(messages.logger)
    opened: trt.ICudaEngine = runtime.deserialize_cuda_engine(engine)
    if opened is None:
        raise messages.failure("cannot open the engine", flavour, api.__version__)
    refitter: trt.Refitter = api.Refitter(opened, messages.logger)
    known = set(refitter.get_all_weights())
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    kept = []  # TensorRT reads the arrays when it refits
    for name in names:
        if name not in known:
            raise SegdinoDeployError(f"the engine cannot exchange {name}: build it again with --refittable")
        array = numpy_helper.to_array(constants[name])
        kept.append(array)
        if not refitter.set_named_weights(name, api.Weights(array)):
            raise messages.failure(f"refuses the new {name}", flavour, api.__version__)
    if not refitter.refit_cuda_engine():
        raise messages.failure("cannot exchange the weights", flavour, api.__version__)
    return bytes(opened.serialize())
