"""Small networks, parsed by the real parser."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from segdino_deploy.engines.tensorrt.flavours import FLAVOURS, TensorRtModule
from segdino_deploy.engines.tensorrt.messages import Messages
from segdino_deploy.engines.tensorrt.options import TensorRtOptions
from segdino_deploy.engines.tensorrt.versions import built_with, options_for_receipt
from segdino_deploy.gpu import Gpu
from segdino_deploy.manifest import Engine


def product_model(elem_type: int = TensorProto.FLOAT, operator: str = "MatMul") -> onnx.ModelProto:
    """uint8 `[1, 8, 16]`, cast, times a constant `[16, 32]`."""
    weight = np.linspace(-1, 1, 16 * 32).reshape(16, 32).astype(helper.tensor_dtype_to_np_dtype(elem_type))
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], "cast", to=elem_type),
        helper.make_node(operator, ["a", "w"], ["b"], "head/product"),
        helper.make_node("Cast", ["b"], ["y"], "back", to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 8, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def parse(api: TensorRtModule, messages: Messages, model: onnx.ModelProto) -> tuple[Any, Any, Any, bool]:
    """Builder, network, parser (which owns the weights) and whether it could be parsed."""
    builder = api.Builder(messages.logger)
    network = builder.create_network(1 << int(api.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = api.OnnxParser(network, messages.logger)
    return builder, network, parser, bool(parser.parse(model.SerializeToString()))


def small_network(api: TensorRtModule, messages: Messages, elem_type: int = TensorProto.FLOAT) -> tuple[Any, Any, Any]:
    builder, network, parser, parsed = parse(api, messages, product_model(elem_type))
    assert parsed
    return builder, network, parser


def engine_record(backend: str, version: str, gpu: Gpu | None = None, **options: Any) -> Engine:
    """The manifest's record of an fp16 engine."""
    flavour = FLAVOURS[backend]
    given = options_for_receipt(TensorRtOptions(**options))
    return Engine(
        file=f"engines/{backend}-fp16.{flavour.suffix}",
        backend=backend,
        precision="fp16",
        source="model.fp16.onnx",
        built_with=built_with(flavour, version, gpu),
        receipt={"options": given} if given else {},
    )
