"""Checkpoints that are hard to quantize, made from ordinary ones: pure functions on a state dict of any ViT size.

Keys are those of `backbone.*` in a SegDINO checkpoint, without wrapper: what `model.state_dict()` has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx
import torch
from torch import Tensor, nn

from segdino_deploy.engines.precision.int8.edit import Edit
from segdino_deploy.model.segdino import SegDINO

State = dict[str, Tensor]
BLOCKS = "backbone.blocks."
READERS = {"norm1": ("attn.qkv",), "norm2": ("mlp.fc1", "mlp.w1", "mlp.w2")}  # of each norm of a block


def evenly_spread(count: int, channels: int) -> list[int]:
    """`count` channel numbers, none of them the first."""
    return [(2 * i + 1) * channels // (2 * count) for i in range(count)]


def with_norm_outliers(state: Mapping[str, Tensor], channels: Sequence[int], factor: float) -> State:
    """The same function, but `channels` of every block's LayerNorm outputs are `factor` times as large.

    Gains and biases of norm1 and norm2 are multiplied, the columns of the weights that read them divided.
    """
    result, index = {key: tensor.clone() for key, tensor in state.items()}, list(channels)
    for block in range(depth_of(state)):
        for norm, readers in READERS.items():
            for parameter in ("weight", "bias"):
                result[f"{BLOCKS}{block}.{norm}.{parameter}"][index] *= factor
            for reader in readers:
                weight = result.get(f"{BLOCKS}{block}.{reader}.weight")
                if weight is not None:
                    weight[:, index] /= factor
    return result


def with_massive_channels(
    state: Mapping[str, Tensor], deviations: Mapping[str, Tensor], shifts: Mapping[int, float], kept_gain: float = 0.02
) -> State:
    """Almost the same function, with residual channels far from all others, as large DINOv3 models have them.

    `shifts`: what is added to residual channels of every token, by channel. `deviations`: the standard deviation over
    the channels of each LayerNorm's input as it is, by the norm's name (`input_deviations`). The other channels must
    come out of each norm as before: its gains are multiplied by the ratio of the standard deviations. The gains of
    the shifted channels are `kept_gain` of what they were.
    """
    result, index = {key: tensor.clone() for key, tensor in state.items()}, list(shifts)
    shift = torch.tensor(list(shifts.values()))
    for key in ("patch_embed.proj.bias", "cls_token", "storage_tokens"):
        if f"backbone.{key}" in result:
            result[f"backbone.{key}"][..., index] += shift
    for name, deviation in deviations.items():
        gain = result[f"{name}.weight"]
        size = len(gain)
        mean = shift.sum() / size
        added = (shift.square().sum() / size - mean.square()).sqrt()  # the channels' own values do not matter here
        gain *= torch.sqrt(deviation.square() + added.square()) / deviation
        gain[index] *= kept_gain
    return result


def input_deviations(model: SegDINO, images: Tensor) -> dict[str, Tensor]:
    """Standard deviation over the channels of each LayerNorm's input, mean over tokens and images; by its key.

    `images`: normalised, float32 `[N, 3, H, W]`. Norms that the forward pass does not use are left out.
    """
    found: dict[str, list[Tensor]] = {}
    hooks = []
    for name, norm in _norms(model):

        def note(_: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
            found.setdefault(name, []).append(inputs[0].std(dim=-1, unbiased=False).mean())

        hooks.append(norm.register_forward_pre_hook(note))
    with torch.inference_mode():
        model(images)
    for hook in hooks:
        hook.remove()
    return {name: torch.stack(values).mean() for name, values in found.items()}


def depth_of(state: Mapping[str, Tensor]) -> int:
    return 1 + max(int(key.split(".")[2]) for key in state if key.startswith(BLOCKS))


def _norms(model: SegDINO) -> Iterator[tuple[str, nn.LayerNorm]]:
    for name, module in model.backbone.named_modules():
        if isinstance(module, nn.LayerNorm):
            yield f"backbone.{name}", module


def with_graph_norm_outliers(model: onnx.ModelProto, channels: Sequence[int], factor: float) -> onnx.ModelProto:
    """`with_norm_outliers` of an exported graph, whose normalisations have no gains of their own any more."""
    edit, index = Edit(model), list(channels)
    for norm in [node for node in model.graph.node if node.op_type == "LayerNormalization"]:
        products = [node for node in edit.readers(norm.output[0]) if node.op_type == "MatMul"]
        if not norm.name.startswith(BLOCKS) or len(products) != len(edit.readers(norm.output[0])):
            continue
        for place, suffix in ((norm, "gain"), (norm, "bias"), *((product, "weight") for product in products)):
            operand = 2 if suffix == "bias" else 1
            array = edit.constant(place.input[operand])
            assert array is not None
            changed = array.copy()
            changed[index] *= 1 / factor if suffix == "weight" else factor
            edit.set_operand(place.name, operand, changed, f"outlier_{suffix}")
    return edit.finish()
