"""The tensors that an engine reads and writes: what the model's card says, and whether the engine agrees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segdino_deploy.engines.tensorrt.flavours import TensorRtModule
from segdino_deploy.errors import InputError
from segdino_deploy.export.graph import INPUT
from segdino_deploy.manifest import ModelCard, head_and_kind

if TYPE_CHECKING:
    import tensorrt as trt


@dataclass(frozen=True)
class Tensor:
    """`shape`: of one image, without the batch."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def shape_of(self, batch: int) -> tuple[int, ...]:
        return (batch, *self.shape)

    def size_of(self, batch: int) -> int:
        """Bytes."""
        return self.dtype.itemsize * math.prod(self.shape_of(batch))


@dataclass(frozen=True)
class Found:
    """One input or output of an engine. `dtype`: numpy's name, or TensorRT's where numpy has none; -1: any length."""

    name: str
    is_input: bool
    dtype: str
    shape: tuple[int, ...]


def input_tensor(card: ModelCard) -> Tensor:
    return Tensor(INPUT, np.dtype(np.uint8), (*card.input_size, 3))


def output_tensors(card: ModelCard) -> list[Tensor]:
    """In the card's order: masks uint8 `[H, W]`, probabilities and logits float32 `[C, H, W]`, of one image."""
    heads = {head.name: head for head in card.heads}
    tensors = []
    for name in card.output_names:
        head, kind = head_and_kind(name)
        if kind == "mask":
            tensors.append(Tensor(name, np.dtype(np.uint8), card.input_size))
        else:
            tensors.append(Tensor(name, np.dtype(np.float32), (heads[head].num_classes, *card.input_size)))
    return tensors


def tensors_of(engine: trt.ICudaEngine, api: TensorRtModule) -> list[Found]:
    """What an engine says that it reads and writes."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    return [
        Found(
            name,
            engine.get_tensor_mode(name) == api.TensorIOMode.INPUT,
            type_name(engine.get_tensor_dtype(name)),
            dims(engine.get_tensor_shape(name)),
        )
        for name in names
    ]


def check_tensors(found: Sequence[Found], card: ModelCard) -> None:
    """InputError where an engine does not read and write what the card says: it is of another export."""
    expected = {tensor.name: tensor for tensor in (input_tensor(card), *output_tensors(card))}
    if {tensor.name for tensor in found} != set(expected):
        names = ", ".join(tensor.name for tensor in found)
        raise InputError(f"the engine has the tensors {names}; the model's card names {', '.join(expected)}")
    for tensor in found:
        wanted = expected[tensor.name]
        shape = wanted.shape_of(card.batch.max if card.batch.is_fixed else -1)
        fits = len(shape) == len(tensor.shape) and all(
            a == b or -1 in (a, b) for a, b in zip(shape, tensor.shape, strict=True)
        )
        if not fits or tensor.dtype != wanted.dtype.name or tensor.is_input != (tensor.name == INPUT):
            raise InputError(
                f"the engine's {tensor.name} is {tensor.dtype} {list(tensor.shape)}; "
                f"by the model's card it is {wanted.dtype.name} {list(shape)}"
            )


def type_name(dtype: trt.DataType) -> str:
    """`DataType.FLOAT` as `float32`."""
    name = str(dtype).rpartition(".")[2].lower()
    return {"float": "float32", "half": "float16"}.get(name, name)


def dims(shape: trt.Dims) -> tuple[int, ...]:
    return tuple(shape[axis] for axis in range(len(shape)))
