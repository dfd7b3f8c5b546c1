"""T1 with channels last: the same function, written so that its 1x1 maps are products with the weight on the right.

Exported, T1 makes wide maps with channels first (see `export.fold.upsampling`). OpenVINO convolves with channels last
and turns the wide result around, which costs as much as the product itself; and CPUs quantize only products with the
weight on the right. Here both constant products keep the channels innermost: `[N, 3h, w', K]`, then `[N, h', w', K]`.
With the taps of one row beside each other the matrices are banded, so that the products are made in tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from segdino_deploy.engines.lowering.graph import Pattern, Replacement, attribute, replace
from segdino_deploy.engines.precision.int8.bands import tiles_of

TAPS = 3  # of the convolution, in each direction


@dataclass(frozen=True)
class UpsampledConv:
    """T1 as exported: rows @ layout(weight @ tokens^T + bias) @ columns."""

    scope: str  # of its nodes' names
    tokens: str  # [N, h w, in]
    weight: NDArray[np.float32]  # [K * 9, in]
    bias: NDArray[np.float32] | None  # [K * 9]
    rows: NDArray[np.float32]  # [h', 3 h]
    columns: NDArray[np.float32]  # [3 w, w']
    out: str  # [N, K, h', w']


def upsampling_channels_last(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """Every T1 of a graph with its channels last; None where there is none."""
    pattern = Pattern(model)
    found = (_find(pattern, node) for node in model.graph.node)
    return replace(model, [_channels_last(conv) for conv in found if conv is not None])


def _find(pattern: Pattern, last: onnx.NodeProto) -> UpsampledConv | None:
    if last.op_type != "MatMul":
        return None
    columns, by_rows = pattern.value(last.input[1]), pattern.made_by(last.input[0], "MatMul")
    rows = pattern.value(by_rows.input[0]) if by_rows is not None else None
    if columns is None or rows is None or by_rows is None or rows.ndim != 2 or columns.ndim != 2:
        return None
    grid = pattern.made_by(by_rows.input[1], "Reshape")  # [N, K, 3 h, 3 w]
    turned = grid and pattern.made_by(grid.input[0], "Transpose")
    taps = turned and pattern.made_by(turned.input[0], "Reshape")  # [N, 3 K, 3, h, w]
    if taps is None or turned is None or list(attribute(turned, "perm", [])) != [0, 1, 3, 2, 4]:
        return None
    add = pattern.made_by(taps.input[0], "Add")
    bias = pattern.value(add.input[1]) if add is not None else None
    maps = pattern.made_by(add.input[0] if add is not None else taps.input[0], "MatMul")
    weight = pattern.value(maps.input[0]) if maps is not None else None
    tokens = pattern.made_by(maps.input[1], "Transpose") if maps is not None else None
    if weight is None or tokens is None or (add is not None and bias is None):
        return None
    scope = last.name.split("/")[0]
    flat_bias = None if bias is None else bias.reshape(-1)
    return UpsampledConv(scope, tokens.input[0], weight, flat_bias, rows, columns, last.output[0])


def _channels_last(conv: UpsampledConv) -> Replacement:
    h, w = conv.rows.shape[1] // TAPS, conv.columns.shape[0] // TAPS
    out_h, out_w = conv.rows.shape[0], conv.columns.shape[1]
    channels = len(conv.weight) // TAPS**2
    r = Replacement(conv.out)

    def add(operator: str, inputs: list[str], suffix: str, **attributes: Any) -> str:
        made = f"{conv.out}/{suffix}"
        r.nodes.append(helper.make_node(operator, inputs, [made], f"{conv.scope}.{suffix}/{operator}", **attributes))
        return made

    def reshape(x: str, suffix: str, *shape: int) -> str:
        return add("Reshape", [x, r.constant(f"{suffix}.shape", np.array(shape, np.int64))], suffix)

    def resized(x: str, direction: str, matrix: NDArray[np.float32], axis: int) -> str:
        """matrix @ x, x `[..., in, rest]` with `in` on `axis`; the result's `out` may be in `tiles, out / tiles`."""
        tiles = tiles_of(matrix)
        if tiles is not None:
            matrix = tiles.blocks
            x = add("Gather", [x, r.constant(f"{direction}.read", tiles.columns)], f"read_{direction}", axis=axis)
        return add("MatMul", [r.constant(direction, np.ascontiguousarray(matrix)), x], f"by_{direction}")

    # K * 9 of the exported weight is channel, vertical tap, horizontal tap; here the channel comes last.
    weight = conv.weight.reshape(channels, TAPS, TAPS, -1).transpose(3, 1, 2, 0).reshape(-1, TAPS**2 * channels)
    z = add("MatMul", [conv.tokens, r.constant("maps.weight", np.ascontiguousarray(weight))], "maps")
    if conv.bias is not None:
        bias = conv.bias.reshape(channels, -1).T.reshape(-1)
        z = add("Add", [z, r.constant("maps.bias", np.ascontiguousarray(bias))], "maps.sum")
    z = reshape(z, "taps", -1, h, w, TAPS, TAPS * channels)  # [N, h, w, 3, 3 K]
    z = add("Transpose", [z], "turned", perm=[0, 1, 3, 2, 4])  # [N, h, 3, w, 3 K]
    z = reshape(z, "grid", -1, TAPS * h, TAPS * w, channels)  # [N, 3 h, 3 w, K]
    columns = conv.columns.reshape(TAPS, w, out_w).transpose(2, 1, 0).reshape(out_w, -1)  # [w', 3 w], tap innermost
    z = resized(z, "columns", columns, axis=2)  # [N, 3 h, w', K], or w' in tiles
    z = reshape(z, "lines", -1, TAPS * h, out_w * channels)
    rows = conv.rows.reshape(out_h, TAPS, h).transpose(0, 2, 1).reshape(out_h, -1)  # [h', 3 h], tap innermost
    z = resized(z, "rows", rows, axis=1)  # [N, h', w' K], or h' in tiles
    z = reshape(z, "map", -1, out_h, out_w, channels)
    r.nodes.append(helper.make_node("Transpose", [z], [conv.out], f"{conv.scope}/Transpose.last", perm=[0, 3, 1, 2]))
    return r
