"""Bundles of one and of two heads that are made without torch: tracing a real model is what takes a test's time.

What it computes is a convolution of the colours, a ReLU and a linear layer per head, with random weights. Its tensors
are those of an export: names, types, shapes and the symbolic batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from segdino_deploy.bundle import CANARY, Bundle
from segdino_deploy.canary import make_canary
from segdino_deploy.export.graph import INPUT, select_outputs, with_card
from segdino_deploy.manifest import HeadCard, Manifest, ModelCard, OutputName, output_name
from segdino_deploy.receipts import typed_model_record
from tests.engines.run.model import make_card

FILE = "model.onnx"
SIZE_HW = (64, 96)
FEATURES = 8
NCHW = (0, 3, 1, 2)


def one_head() -> ModelCard:
    """One class, masks and logits; 64x96, one image at once."""
    card = make_card(1, 1, SIZE_HW, classes=1)
    return card.model_copy(update={"heads": [_head(card.heads[0], "", ["polyp"], ["mask", "logits"])]})


def two_heads() -> ModelCard:
    """`polyp` of one class, `tissue` of three, every output; 64x96, 2 to 4 images at once."""
    card = make_card(2, 4, SIZE_HW)
    classes = {"polyp": ["polyp"], "tissue": ["fat", "muscle", "bone"]}
    heads = [_head(card.heads[0], name, names, ["mask", "logits", "probability"]) for name, names in classes.items()]
    return card.model_copy(update={"heads": heads})


def _head(like: HeadCard, name: str, classes: list[str], outputs: list[OutputName]) -> HeadCard:
    changes = {"name": name, "num_classes": len(classes), "class_names": classes, "outputs": outputs}
    return like.model_copy(update=changes)


def make_bundle(path: Path, card: ModelCard) -> Bundle:
    """No engines yet. The canary is answered by ONNX's own reference implementation."""
    model = make_model(card)

    def reference(image_nhwc: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        from onnx.reference import ReferenceEvaluator

        answers = ReferenceEvaluator(model).run(
            [output_name(h.name, "logits") for h in card.heads], {INPUT: image_nhwc}
        )
        return {head.name: answer for head, answer in zip(card.heads, answers, strict=True)}

    canary = make_canary(reference, card.input_size, card.batch.min, card.thresholds)
    record = typed_model_record(model, FILE, "fp32", parity=[])
    manifest = Manifest(tool_version="test", model=card, onnx={"fp32": record})
    return Bundle.create(path, manifest, {FILE: model.SerializeToString(deterministic=True), CANARY: canary.to_bytes()})


def make_model(card: ModelCard, seed: int = 0) -> onnx.ModelProto:
    """uint8 `[N, H, W, 3]` to the outputs of the card, heads of one class by their threshold of 0.5."""
    rng = np.random.default_rng(seed)
    weights = {
        "scale": np.float32(1 / 64),
        "shift": np.float32(127.5 / 64),
        "zero": np.float32(0),
        "edges": rng.normal(size=(FEATURES, 3, 3, 3)).astype(np.float32) / 3,
    }
    nodes = [
        helper.make_node("Cast", [INPUT], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "shift"], ["centred"]),
        helper.make_node("Transpose", ["centred"], ["planes"], perm=NCHW),
        helper.make_node("Conv", ["planes", "edges"], ["sums"], pads=[1] * 4),
        helper.make_node("Relu", ["sums"], ["features"]),
    ]
    for head in card.heads:
        weights[f"{head.name}_weight"] = rng.normal(size=(head.num_classes, FEATURES, 1, 1)).astype(np.float32)
        nodes += _layers(head)
    height, width = card.input_size
    batch = card.batch.max if card.batch.is_fixed else "N"
    outputs = [
        helper.make_tensor_value_info(output_name(head.name, kind), *_type(kind, head, (batch, height, width)))
        for head in card.heads
        for kind in head.outputs
    ]
    image = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [batch, height, width, 3])
    graph = helper.make_graph(nodes, "small", [image], outputs, _initializers(weights))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    model = with_card(select_outputs(model, card.output_names), card)
    onnx.checker.check_model(model, full_check=True)
    return model


def _layers(head: HeadCard) -> list[onnx.NodeProto]:
    mask, logits, probability = (output_name(head.name, kind) for kind in ("mask", "logits", "probability"))
    first = [helper.make_node("Conv", ["features", f"{head.name}_weight"], [logits])]
    if head.num_classes == 1:
        return [
            *first,
            helper.make_node("Sigmoid", [logits], [probability]),
            helper.make_node("Greater", [logits, "zero"], [f"{mask}_is_one"]),
            helper.make_node("Cast", [f"{mask}_is_one"], [f"{mask}_uint8"], to=TensorProto.UINT8),
            helper.make_node("Squeeze", [f"{mask}_uint8", "channels"], [mask]),
        ]
    return [
        *first,
        helper.make_node("Softmax", [logits], [probability], axis=1),
        helper.make_node("ArgMax", [logits], [f"{mask}_int64"], axis=1, keepdims=0),
        helper.make_node("Cast", [f"{mask}_int64"], [mask], to=TensorProto.UINT8),
    ]


def _type(kind: OutputName, head: HeadCard, nhw: tuple[int | str, int, int]) -> tuple[int, list[int | str]]:
    batch, height, width = nhw
    if kind == "mask":
        return TensorProto.UINT8, [batch, height, width]
    return TensorProto.FLOAT, [batch, head.num_classes, height, width]


def _initializers(weights: Mapping[str, NDArray[np.float32] | np.float32]) -> list[onnx.TensorProto]:
    channels = numpy_helper.from_array(np.array([1], np.int64), "channels")
    return [channels, *(numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items())]
