"""What can be quantized in a graph, and how it is grouped: `blocks.3.qkv`, `blocks.3.values`, `head.intra.0`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx

from segdino_deploy.engines.lowering.graph import Pattern, attribute
from segdino_deploy.engines.precision.int8.targets import Kind
from segdino_deploy.export.graph import INPUT, is_resizing_matrix, logits_of_heads

ALL_KINDS: tuple[Kind, ...] = ("weight", "depthwise", "scores", "values")


@dataclass(frozen=True)
class Product:
    """One quantizable product.

    `activation` is its left operand. Of a weight product, `weight` is the constant right one, with the output channels
    on `channel_axis`; of an attention product `right` is the right one, an activation too.
    """

    node: str
    group: str  # products that are switched together
    kind: Kind
    activation: str
    weight: str = ""
    channel_axis: int = 0
    right: str = ""

    @property
    def is_convolution(self) -> bool:
        return self.kind in ("weight", "depthwise") and self.channel_axis == 0


def find_products(model: onnx.ModelProto, kinds: Sequence[Kind] = ("weight",)) -> list[Product]:
    """The quantizable products of `kinds`, in graph order.

    Weight products are MatMul with a constant matrix on the right and ordinary Conv, but not the first convolution and
    not the last products of each head. Depthwise convolutions are those that read a sum: OpenVINO quantizes it while
    it adds, and another map it would first turn around in float. Left are transposed convolutions, resizing matrices,
    and products with the weight on the left, which CPUs run in float anyway.
    """
    weights = weight_ranks(model)
    attention = _attention_products(model)
    pixels = _reached_without_products(model)
    shapes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    sums = {node.output[0] for node in model.graph.node if node.op_type == "Add"}
    last = {name for logits in logits_of_heads(model) for name in _last_products(model, weights, logits)}
    found: list[Product] = []
    for node in model.graph.node:
        if node.name in attention:
            kind = attention[node.name]
            scope = group_of(node.name).removesuffix(".attn")
            found.append(Product(node.name, f"{scope}.{kind}", kind, node.input[0], right=node.input[1]))
        elif len(node.input) > 1 and node.name not in last:
            weight = node.input[1]
            if node.op_type == "MatMul" and weights.get(weight) == 2:
                found.append(Product(node.name, group_of(node.name), "weight", node.input[0], weight, channel_axis=1))
            elif node.op_type == "Conv" and weight in weights and node.input[0] not in pixels:
                conv_kind = _kind_of_convolution(node, shapes[weight], node.input[0] in sums)
                if conv_kind is not None:
                    found.append(Product(node.name, group_of(node.name), conv_kind, node.input[0], weight))
    return [product for product in found if product.kind in kinds]


def group_of(node_name: str) -> str:
    """`backbone.blocks.3.attn.qkv/MatMul` to `blocks.3.qkv`; of a head its stage: `head.branches.0`."""
    scope = node_name.split("/")[0].removeprefix("model.")
    if scope.startswith("backbone.blocks."):
        _, _, block, *module = scope.split(".")
        return ".".join(["blocks", block, *module[-1:]])
    return ".".join(scope.split(".")[:3])


def groups_of(products: Sequence[Product]) -> list[str]:
    """The groups, in graph order."""
    return list(dict.fromkeys(product.group for product in products))


def describe_groups(groups: Sequence[str]) -> str:
    """All of them in few words: `blocks.0 to blocks.11 with .qkv .proj; head.intra.0`."""
    blocks = [group.split(".") for group in groups if group.startswith("blocks.")]
    numbers = sorted({int(parts[1]) for parts in blocks})
    kinds = " ".join(dict.fromkeys(f".{parts[2]}" for parts in blocks))
    words = [f"blocks.{numbers[0]} to blocks.{numbers[-1]} with {kinds}"] if blocks else []
    return "; ".join([*words, *(group for group in groups if not group.startswith("blocks."))]) or "none"


def layer_kind(group: str) -> str:
    """What groups of different blocks have in common: `blocks.3.qkv` and `blocks.7.qkv` are `qkv`."""
    parts = group.split(".")
    return parts[-1] if parts[0] == "blocks" else group


def weight_ranks(model: onnx.ModelProto) -> dict[str, int]:
    """Number of dimensions of every constant that may be a weight: resizing matrices are none."""
    constants = model.graph.initializer
    return {tensor.name: len(tensor.dims) for tensor in constants if not is_resizing_matrix(tensor.name)}


def _attention_products(model: onnx.ModelProto) -> dict[str, Kind]:
    """Names of the MatMul nodes before and after each softmax."""
    pattern = Pattern(model)
    found: dict[str, Kind] = {}
    for softmax in model.graph.node:
        if softmax.op_type == "Softmax":
            scores = pattern.made_by(softmax.input[0], "MatMul")
            values = pattern.only_reader(softmax.output[0], "MatMul")
            if scores is not None and values is not None:
                found[scores.name], found[values.name] = "scores", "values"
    return found


def _kind_of_convolution(node: onnx.NodeProto, weight: Sequence[int], reads_sum: bool) -> Kind | None:
    group = attribute(node, "group", 1)
    if group == 1:
        return "weight"
    is_depthwise = group == weight[0] and weight[1] == 1
    return "depthwise" if is_depthwise and reads_sum else None


def _reached_without_products(model: onnx.ModelProto) -> set[str]:
    """The input image and its casts and transpositions."""
    reached = {INPUT}
    for node in model.graph.node:
        if node.op_type in ("Cast", "Transpose") and node.input[0] in reached:
            reached.update(node.output)
    return reached


def _last_products(model: onnx.ModelProto, weights: Mapping[str, int], logits: str) -> Iterator[str]:
    """Names of the weight products that a head's logits are made of: the first one on every path back from them."""
    producer = {name: node for node in model.graph.node for name in node.output}
    frontier = [logits]
    while frontier:
        node = producer.get(frontier.pop())
        if node is None:
            continue
        if node.op_type in ("Conv", "MatMul", "Gemm") and any(operand in weights for operand in node.input):
            yield str(node.name)
        else:
            frontier.extend(node.input)
