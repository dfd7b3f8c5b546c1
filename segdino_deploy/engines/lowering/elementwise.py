"""Other spellings of single operators: GELU by the error function, the final resize as two constant products."""

from __future__ import annotations

import math

import numpy as np
import onnx

from segdino_deploy.engines.lowering.graph import Pattern, Replacement, attribute, replace
from segdino_deploy.export.graph import logits_of_heads
from segdino_deploy.interpolation import interpolation_matrix


def gelu_by_erf(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """x / 2 (1 + erf(x / sqrt 2)), for backends that fuse this form and not the operator."""
    pattern = Pattern(model)
    replacements = []
    for node in model.graph.node:
        if node.op_type != "Gelu" or attribute(node, "approximate", b"none") != b"none":
            continue
        x, elem_type = node.input[0], pattern.elem_type(node.input[0])
        r = Replacement(node.output[0])
        constants = {"root": math.sqrt(2), "one": 1.0, "half": 0.5}
        root, one, half = (r.constant(name, np.array(value), elem_type) for name, value in constants.items())
        erf = r.add("Erf", [r.add("Div", [x, root], "scaled")], "erf")
        r.add("Mul", [r.add("Mul", [x, r.add("Add", [erf, one], "shifted")], "product"), half])
        replacements.append(r)
    return replace(model, replacements)


def final_resize_as_products(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """O2: the bilinear Resize that makes the logits as rows x columns: U x V^T with two constant matrices."""
    pattern, logits = Pattern(model), logits_of_heads(model)
    replacements = []
    for node in model.graph.node:
        if node.op_type != "Resize" or node.output[0] not in logits or attribute(node, "mode", b"") != b"linear":
            continue
        source, target = pattern.shape(node.input[0])[2:], pattern.shape(node.output[0])[2:]
        mode = attribute(node, "coordinate_transformation_mode", b"half_pixel")
        known = [size for size in (*source, *target) if size is not None]
        if len(known) != 4 or mode not in (b"align_corners", b"half_pixel"):
            continue
        elem_type = pattern.elem_type(node.input[0])
        height, width = (
            interpolation_matrix(size, out_size, mode == b"align_corners")
            for size, out_size in zip(known[:2], known[2:], strict=True)
        )
        r = Replacement(node.output[0])
        by_rows = r.add("MatMul", [r.constant("rows", height, elem_type), node.input[0]], "by_rows")
        r.add("MatMul", [by_rows, r.constant("columns", np.ascontiguousarray(width.T), elem_type)])
        replacements.append(r)
    return replace(model, replacements)
