"""The final norm of all tapped blocks as one node: fewer kernels to start, and to keep in a TensorRT-RTX engine."""

from __future__ import annotations

from collections import defaultdict

import onnx

from segdino_deploy.engines.lowering.graph import Pattern, Replacement, attribute, replace


def tap_norms_as_one(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """Slices of the tapped blocks, joined over tokens, normalised at once and parted again.

    Exact: LayerNormalization works on each token alone, and the taps share one scale and bias.
    """
    pattern = Pattern(model)
    position = {node.output[0]: index for index, node in enumerate(model.graph.node)}
    taps: dict[tuple[object, ...], list[onnx.NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        shape = pattern.shape(node.input[0])  # [N, tokens, D]
        if node.op_type == "LayerNormalization" and pattern.made_by(node.input[0], "Slice") and len(shape) == 3:
            taps[(*node.input[1:], attribute(node, "epsilon", 1e-5), *shape)].append(node)
    replacements = []
    for norms in taps.values():
        readers = [reader for node in norms for reader in pattern.readers[node.output[0]]]
        is_read_early = any(position[reader.output[0]] < position[norms[-1].output[0]] for reader in readers)
        if len(norms) > 1 and not is_read_early:
            replacements += [Replacement(node.output[0]) for node in norms[:-1]]  # made beside the last one
            replacements.append(_joined(norms))
    return replace(model, replacements)


def _joined(norms: list[onnx.NodeProto]) -> Replacement:
    """All norms in place of the last one: only there are all taps known."""
    last = norms[-1]
    r = Replacement(last.output[0])
    joined = r.add("Concat", [node.input[0] for node in norms], "joined", axis=1)  # [N, taps * tokens, D]
    attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in last.attribute}
    normalised = r.add("LayerNormalization", [joined, *last.input[1:]], "normalised", **attributes)
    outputs = [node.output[0] for node in norms]
    r.nodes.append(onnx.helper.make_node("Split", [normalised], outputs, r.output, axis=1, num_outputs=len(norms)))
    return r
