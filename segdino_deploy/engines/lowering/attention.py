"""Other spellings of attention: the ONNX `Attention` operator, ONNX Runtime's fused kernels, qkv as three products."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from segdino_deploy.engines.lowering.graph import Pattern, Replacement, attribute, replace

ATTENTION_OPSET = 23
MICROSOFT = "com.microsoft"


@dataclass(frozen=True)
class AttentionNodes:
    """One attention of an exported graph; q (scaled, rotated), k (rotated) and v are `[N, heads, tokens, d]`."""

    q: str
    k: str
    v: str
    softmax_type: int  # element type that the softmax computes in
    out: str  # `[N, heads, tokens, d]`


@dataclass(frozen=True)
class Rotation:
    """RoPE of one tensor: x cos + swap(x) sin', with x a view `[N, heads, tokens, d]` of tokens `[N, tokens, D]`."""

    x: str  # `[N, heads, tokens, d]`
    tokens: str  # the same before the heads were split, `[N, tokens, D]`
    num_heads: int
    head_dim: int
    cos: str
    sin: str


def find_attentions(pattern: Pattern) -> Iterator[AttentionNodes]:
    """MatMul, Softmax, MatMul, with casts around the softmax where it computes in another type."""
    for softmax in pattern.model.graph.node:
        if softmax.op_type != "Softmax" or attribute(softmax, "axis", -1) not in (-1, 3):
            continue
        before = pattern.made_by(softmax.input[0], "Cast")
        scores = pattern.made_by(before.input[0] if before else softmax.input[0], "MatMul")
        after = pattern.only_reader(softmax.output[0], "Cast")
        product = pattern.only_reader(after.output[0] if after else softmax.output[0], "MatMul")
        if scores is None or product is None:
            continue
        transposed = pattern.made_by(scores.input[1], "Transpose")
        if transposed is None or list(attribute(transposed, "perm", [])) != [0, 1, 3, 2]:
            continue
        softmax_type = pattern.elem_type(softmax.output[0])
        yield AttentionNodes(scores.input[0], transposed.input[0], product.input[1], softmax_type, product.output[0])


def attention_operator(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """MatMul, Softmax, MatMul as one `Attention` (opset 23). The scale is in q already, so the operator's is 1."""
    return _with_operator(model, states_softmax_type=True)


def tensorrt_attention(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """The same without the softmax's type, which TensorRT's parser refuses to be told."""
    return _with_operator(model, states_softmax_type=False)


def _with_operator(model: onnx.ModelProto, states_softmax_type: bool) -> onnx.ModelProto | None:
    pattern = Pattern(model)
    replacements = []
    for found in find_attentions(pattern):
        differs = found.softmax_type != pattern.elem_type(found.q)
        extra: dict[str, Any] = {"softmax_precision": found.softmax_type} if differs and states_softmax_type else {}
        r = Replacement(found.out)
        r.add("Attention", [found.q, found.k, found.v], scale=1.0, **extra)
        replacements.append(r)
    return replace(model, replacements, opset=ATTENTION_OPSET)


def find_rotation(pattern: Pattern, name: str) -> Rotation | None:
    """The rotation that makes `name`, from the tokens `[N, tokens, D]` on."""
    add = pattern.made_by(name, "Add")
    plain = add and pattern.made_by(add.input[0], "Mul")
    swapped = add and pattern.made_by(add.input[1], "Mul")
    concat = swapped and pattern.made_by(swapped.input[0], "Concat")
    halves = concat and pattern.made_by(concat.input[0], "Split")
    if plain is None or swapped is None or concat is None or halves is None or halves.input[0] != plain.input[0]:
        return None
    if list(concat.input) != list(reversed(halves.output)):
        return None
    view = split_heads(pattern, plain.input[0])
    return None if view is None else Rotation(plain.input[0], *view, cos=plain.input[1], sin=swapped.input[1])


def split_heads(pattern: Pattern, name: str) -> tuple[str, int, int] | None:
    """(tokens `[N, tokens, D]`, heads, d) of a value that is their Reshape and Transpose to `[N, heads, tokens, d]`."""
    transpose = pattern.made_by(name, "Transpose")
    reshape = transpose and pattern.made_by(transpose.input[0], "Reshape")
    if transpose is None or reshape is None or list(attribute(transpose, "perm", [])) != [0, 2, 1, 3]:
        return None
    target = pattern.value(reshape.input[1])
    return None if target is None or len(target) != 4 else (reshape.input[0], int(target[2]), int(target[3]))


def onnxruntime_attention(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """ONNX Runtime's own `RotaryEmbedding` and `MultiHeadAttention` (fp32): no head is transposed, no score stored."""
    pattern = Pattern(model)
    replacements = []
    for found in find_attentions(pattern):
        rotations = [find_rotation(pattern, name) for name in (found.q, found.k)]
        values = split_heads(pattern, found.v)
        heads_back = pattern.only_reader(found.out, "Transpose")
        merged = heads_back and pattern.only_reader(heads_back.output[0], "Reshape")
        if None in rotations or values is None or merged is None or pattern.elem_type(found.out) != TensorProto.FLOAT:
            continue
        if heads_back is None or list(attribute(heads_back, "perm", [])) != [0, 2, 1, 3]:
            continue
        if len(pattern.shape(merged.output[0])) != 3:
            continue
        r = Replacement(merged.output[0])
        rotated = []
        for label, rotation in zip("qk", rotations, strict=True):
            assert rotation is not None
            rotated.append(_rotary(pattern, r, rotation, label))
        r.add("MultiHeadAttention", [*rotated, values[0]], domain=MICROSOFT, num_heads=values[1], scale=1.0)
        replacements.append(r)
    return replace(model, replacements, domain=MICROSOFT)


def rotary_operator(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """RoPE as one `RotaryEmbedding` (opset 23) for q and for k. Its tables have a batch: a fixed one only."""
    pattern = Pattern(model)
    replacements = []
    for node in model.graph.node:
        rotation = find_rotation(pattern, node.output[0]) if node.op_type == "Add" else None
        batch = pattern.shape(rotation.x)[0] if rotation is not None else None
        if rotation is None or batch is None:
            continue
        r = Replacement(node.output[0])
        tables = [np.repeat(table[None], batch, axis=0) for table in _half_tables(pattern, rotation)]
        names = [r.constant(label, table) for label, table in zip(("cos", "sin"), tables, strict=True)]
        r.add("RotaryEmbedding", [rotation.x, *names])
        replacements.append(r)
    return replace(model, replacements, opset=ATTENTION_OPSET)


def _half_tables(pattern: Pattern, rotation: Rotation) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and unsigned sine, `[tokens, d / 2]` each, as the operators take them."""
    half = rotation.head_dim // 2
    cos, sin = pattern.value(rotation.cos), pattern.value(rotation.sin)
    assert cos is not None and sin is not None
    return np.ascontiguousarray(cos[:, :half]), np.ascontiguousarray(sin[:, half:])


def _rotary(pattern: Pattern, r: Replacement, rotation: Rotation, label: str) -> str:
    """Tokens rotated by ONNX Runtime's operator."""
    cos, sin = _half_tables(pattern, rotation)
    tables = [r.constant(f"{label}.cos", cos), r.constant(f"{label}.sin", sin)]
    position = r.constant("position", np.zeros(1, np.int64))  # of the first token
    inputs = [rotation.tokens, position, *tables]
    return r.add("RotaryEmbedding", inputs, label, domain=MICROSOFT, num_heads=rotation.num_heads)


def split_qkv(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """The product for q, k and v as three products, so that nothing is split afterwards."""
    pattern = Pattern(model)
    replacements = []
    for split in model.graph.node:
        if split.op_type != "Split" or len(split.output) != 3:
            continue
        add = pattern.made_by(split.input[0], "Add")
        product = pattern.made_by(add.input[0] if add else split.input[0], "MatMul")
        weight = product and pattern.value(product.input[1])
        bias = pattern.value(add.input[1]) if add else None
        if product is None or weight is None or weight.ndim != 2 or (add and bias is None):
            continue
        widths = {tuple(pattern.shape(name)[-1:]) for name in split.output}
        if attribute(split, "axis", 0) not in (-1, 2) or widths != {(weight.shape[1] // 3,)}:
            continue
        r = Replacement(split.output[0])
        biases = [None] * 3 if bias is None else np.split(bias, 3)
        for label, output, part, shift in zip("qkv", split.output, np.split(weight, 3, axis=1), biases, strict=True):
            _product(r, label, product.input[0], part, shift, output)
        replacements.append(r)
    return replace(model, replacements)


def _product(r: Replacement, label: str, x: str, weight: np.ndarray, bias: np.ndarray | None, output: str) -> None:
    """x W + b under the name `output`; a bias of zeros (the values', after B8) is left out."""
    names = [x, r.constant(f"{label}.weight", np.ascontiguousarray(weight))]
    has_bias = bias is not None and bool(bias.any())
    last = "Add" if has_bias else "MatMul"
    if has_bias:
        assert bias is not None
        names = [r.add("MatMul", names, f"{label}.product"), r.constant(f"{label}.bias", np.ascontiguousarray(bias))]
    r.nodes.append(onnx.helper.make_node(last, names, [output], output))
