"""An engine that NVIDIA's own builder makes in a fraction of a second: it computes `model.answer`."""

from __future__ import annotations

from typing import Any

import numpy as np

from segdino_deploy.engines.tensorrt.flavours import FLAVOURS
from segdino_deploy.engines.tensorrt.messages import Messages
from segdino_deploy.engines.tensorrt.tensors import Found, dims, type_name
from segdino_deploy.manifest import ModelCard


def define(backend: str, card: ModelCard) -> tuple[Any, Any, Any, Messages]:
    """The library's builder, network and configuration, for images of the card's size and batch."""
    api: Any = FLAVOURS[backend].load()
    messages = Messages(api)
    builder = api.Builder(messages.logger)
    network = builder.create_network(1 << int(api.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    batch, size = card.batch, card.input_size
    image = network.add_input("image", api.DataType.UINT8, [batch.max if batch.is_fixed else -1, *size, 3])
    floats = network.add_cast(image, api.DataType.FLOAT)
    planes = network.add_shuffle(floats.get_output(0))
    planes.first_transpose = [0, 3, 1, 2]  # [N, H, W, 3] -> [N, 3, H, W]
    half = network.add_constant([1, 1, 1, 1], api.Weights(np.full(1, 0.5, np.float32)))
    scaled = network.add_elementwise(planes.get_output(0), half.get_output(0), api.ElementWiseOperation.PROD)
    best = network.add_topk(scaled.get_output(0), api.TopKOperation.MAX, 1, 1 << 1)
    classes = network.add_shuffle(best.get_output(1))
    classes.reshape_dims = [0, *size]  # [N, 1, H, W] -> [N, H, W]; 0: as it is
    mask = network.add_cast(classes.get_output(0), api.DataType.UINT8)
    for layer, name in ((mask, "mask"), (scaled, "logits")):
        layer.get_output(0).name = name
        network.mark_output(layer.get_output(0))
    config = builder.create_builder_config()
    if not batch.is_fixed:
        profile = builder.create_optimization_profile()
        profile.set_shape("image", *([n, *size, 3] for n in (batch.min, batch.opt, batch.max)))
        config.add_optimization_profile(profile)
    return builder, network, config, messages


def build(backend: str, card: ModelCard) -> bytes:
    builder, network, config, messages = define(backend, card)
    serialized = builder.build_serialized_network(network, config)
    assert serialized is not None, messages.errors
    return bytes(serialized)


def tensors_of_network(network: Any) -> list[Found]:
    """What NVIDIA's parser or network says of its inputs and outputs."""
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    return [
        Found(tensor.name, tensor in inputs, type_name(tensor.dtype), dims(tensor.shape))
        for tensor in (*inputs, *outputs)
    ]
