"""Node names that say where a node comes from: `backbone.blocks.0.attn.qkv/MatMul`, `head.branches.1/Transpose`."""

from __future__ import annotations

import ast
from collections import Counter

import onnx

SCOPES_KEY = "pkg.torch.onnx.name_scopes"  # of a node's metadata, written by PyTorch's exporter: "['', 'backbone', ..]"


def name_by_scope(model: onnx.ModelProto) -> onnx.ModelProto:
    """Renames every node to `<module path>/<operator>`, with `.2`, `.3` ... after repeated ones. Changes `model`.

    A node the exporter says nothing about belongs to the module of the node whose result it reads.
    """
    scope_of: dict[str, str] = {}
    used: Counter[str] = Counter()
    for node in model.graph.node:
        scope = _scope(node)
        if scope is None:
            scope = next((scope_of[name] for name in node.input if name in scope_of), "")
        scope_of.update(dict.fromkeys(node.output, scope))
        name = f"{scope or 'output'}/{node.op_type}"
        used[name] += 1
        node.name = name if used[name] == 1 else f"{name}.{used[name]}"
    return model


def _scope(node: onnx.NodeProto) -> str | None:
    for entry in node.metadata_props:
        if entry.key == SCOPES_KEY:
            scopes = ast.literal_eval(entry.value)  # the last one is the operation's own
            return str(scopes[-2]) if len(scopes) > 1 else ""
    return None
