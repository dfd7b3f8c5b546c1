"""What an ONNX file really computes in: read from its types, never from what was asked."""

from __future__ import annotations

from collections import Counter

import onnx

from segdino_deploy.bundle import CANARY
from segdino_deploy.export.graph import WEIGHT_PRODUCTS, is_resizing_matrix, type_name, value_types
from segdino_deploy.manifest import Int8Record, ParityRecord, Precision, TypedModel


def weight_products_by_type(model: onnx.ModelProto) -> dict[str, int]:
    """Matrix products and convolutions with a constant operand, counted by the type they compute in.

    A product whose two operands both come out of DequantizeLinear counts as int8.
    """
    types = value_types(model)
    constants = {tensor.name for tensor in model.graph.initializer if not is_resizing_matrix(tensor.name)}
    producer = {name: node for node in model.graph.node for name in node.output}

    def is_dequantized(name: str) -> bool:
        return name in producer and producer[name].op_type == "DequantizeLinear"

    def is_constant(name: str) -> bool:
        node = producer.get(name)
        if node is not None and node.op_type in ("DequantizeLinear", "Cast", "Transpose"):
            return is_constant(node.input[0])
        return name in constants

    counts: Counter[str] = Counter()
    for node in model.graph.node:
        if node.op_type not in WEIGHT_PRODUCTS or not any(is_constant(name) for name in node.input[:2]):
            continue
        both = all(is_dequantized(name) for name in node.input[:2])
        counts["int8" if both else type_name(types.get(node.input[0], 0))] += 1
    return dict(sorted(counts.items()))


def typed_model_record(
    model: onnx.ModelProto,
    file: str,
    precision: Precision,
    *,
    parity: list[ParityRecord],
    kept_fp32: list[str] | None = None,
    calibration_images: int | None = None,
    largest_values: dict[str, float] | None = None,
    checked_on: str = "",
    images_sha256: str | None = None,
    int8: Int8Record | None = None,
    canary: str = CANARY,
) -> TypedModel:
    """The manifest's record of an ONNX model."""
    operators = Counter(node.op_type for node in model.graph.node)
    return TypedModel(
        file=file,
        precision=precision,
        weight_products=weight_products_by_type(model),
        nodes=len(model.graph.node),
        casts=operators["Cast"],
        qdq_pairs=operators["QuantizeLinear"],
        kept_fp32=kept_fp32 or [],
        largest_values=largest_values or {},
        checked_on=checked_on,
        images_sha256=images_sha256,
        parity=parity,
        calibration_images=calibration_images,
        int8=int8,
        canary=canary,
    )
