"""A bundle with a small ONNX Runtime engine, made without torch: the brightest colour is the class."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from segdino_deploy.bundle import Bundle
from segdino_deploy.manifest import Engine, Manifest
from tests.engines.run.model import make_card

ENGINE = "engines/onnxruntime-fp32.onnx"


def make_bundle(path: Path) -> Path:
    """16 x 32 pixels, three classes, batches of 1 to 4, made for 2."""
    card = make_card(low=1, high=4)
    head = card.heads[0].model_copy(update={"outputs": ["mask"]})
    card = card.model_copy(update={"heads": [head], "batch": card.batch.model_copy(update={"opt": 2})})
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ArgMax", ["floats"], ["class"], axis=-1, keepdims=0),
        helper.make_node("Cast", ["class"], ["mask"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 16, 32, 3])],
        [helper.make_tensor_value_info("mask", TensorProto.UINT8, ["N", 16, 32])],
    )
    model = helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    content = model.SerializeToString()
    engine = Engine(file=ENGINE, backend="onnxruntime", precision="fp32", source="model.onnx", built_with={})
    manifest = Manifest(tool_version="test", model=card, engines={"onnxruntime-fp32": engine})
    Bundle.create(path, manifest, {"model.onnx": content, ENGINE: content})
    return path
