"""Models whose answer at a pixel depends on few pixels around it: tiling must not change it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from segdino_deploy import load_segdino
from segdino_deploy.engines.run import Runner
from segdino_deploy.engines.run.onnxruntime import OnnxRuntimeRunner
from segdino_deploy.evidence import mask_from_logits
from segdino_deploy.manifest import BatchRange, Engine, ModelCard, OutputName
from segdino_deploy.model.reference import reference_logits
from tests.conftest import IMAGENET_MEAN, IMAGENET_STD, read_golden
from tests.engines.run.model import make_card

ENGINE = Engine(file="model.onnx", backend="onnxruntime", precision="fp32", source="model.onnx", built_with={})


def local_card(
    size_hw: tuple[int, int], classes: int = 1, outputs: tuple[OutputName, ...] = ("mask", "logits"), batch: int = 4
) -> ModelCard:
    card = make_card(size=size_hw, classes=classes)
    head = card.heads[0].model_copy(update={"outputs": list(outputs)})
    return card.model_copy(update={"heads": [head], "batch": BatchRange(min=1, opt=batch, max=batch)})


class Brightness(Runner):
    """One logit per class: how far the red, green or blue value is from the middle. Counts its calls."""

    backend, precision, device = "test", "fp32", "CPU"

    def __init__(self, card: ModelCard) -> None:
        super().__init__(card)
        self.batches: list[int] = []

    def _run(self, image_nhwc: NDArray[np.uint8]) -> dict[str, NDArray[np.generic]]:
        self.batches.append(len(image_nhwc))
        outputs: dict[str, NDArray[np.generic]] = {}
        for index, head in enumerate(self.card.heads):
            logits = brightness(image_nhwc, head.num_classes, first=index)
            prefix = f"{head.name}." if head.name else ""
            outputs[f"{prefix}logits"] = logits
            outputs[f"{prefix}mask"] = mask_from_logits(logits, head.threshold)
        return outputs


def brightness(image_nhwc: NDArray[np.uint8], classes: int = 1, first: int = 0) -> NDArray[np.float32]:
    """uint8 `[N, H, W, 3]` to logits `[N, classes, H, W]`, of the channels from `first` on."""
    planes = image_nhwc.transpose(0, 3, 1, 2)[:, first : first + classes]  # [N, H, W, 3] -> [N, C, H, W]
    return (planes.astype(np.float32) - 127.5) / 32


def convolution(path: Path, card: ModelCard, side: int, seed: int = 0) -> OnnxRuntimeRunner:
    """A random `side` x `side` convolution of the colours, zeros outside the image, in ONNX Runtime."""
    height, width = card.input_size
    weight = np.random.default_rng(seed).normal(size=(1, 3, side, side)).astype(np.float32) / (100 * side)
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "weight"], ["logits"], pads=[side // 2] * 4),
    ]
    graph = helper.make_graph(
        nodes,
        "local",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", height, width, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 1, height, width])],
        [numpy_helper.from_array(weight, "weight")],
    )
    path.write_bytes(
        helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )
    return OnnxRuntimeRunner(card, ENGINE, path, threads=1)


class Upstream(Runner):
    """A golden checkpoint in PyTorch, at its golden size."""

    backend, precision, device = "torch", "fp32", "CPU"

    def __init__(self, name: str) -> None:
        golden = read_golden(name)
        super().__init__(local_card(golden.input_hw, golden.num_classes, ("logits",)))
        self._models = {"": load_segdino(golden.checkpoint)}

    def _run(self, image_nhwc: NDArray[np.uint8]) -> dict[str, NDArray[np.generic]]:
        return {"logits": reference_logits(self._models, image_nhwc, IMAGENET_MEAN, IMAGENET_STD)[""]}
