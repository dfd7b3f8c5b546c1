"""fp16 and bf16 as typed ONNX: the file itself says what is computed in which type.

TensorRT 11 knows strongly typed networks only, and the same file works on TensorRT 10 and TensorRT-RTX. Kept in fp32:
- Softmax and InstanceNormalization (their sums lose or overflow in 16 bits), and what `FP32_OPERATORS` names besides.
- LayerNormalization takes and gives 16 bits, but its `stash_type` 1 keeps the arithmetic in fp32 inside one node
  (decomposed, its square overflows in fp16).
- Everything from a head's last resize on (its logits and what follows): a pixel's class is decided in fp32, and the
  maps there are small before they are resized.
- Every node that reads or makes a tensor which leaves the format's range on images (`extremes`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from segdino_deploy.engines.precision.extremes import LARGEST, out_of_range, reasons
from segdino_deploy.errors import CheckFailed
from segdino_deploy.export.graph import copy_of, logits_of_heads, value_types

HALF_TYPES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
# Operators that stay in fp32, and why.
FP32_OPERATORS: dict[str, dict[str, str]] = {
    "fp16": {"Softmax": "sums of exponentials", "InstanceNormalization": "sums over whole maps"},
    "bf16": {
        "Softmax": "sums of exponentials",
        "InstanceNormalization": "sums over whole maps",
        "ConvTranspose": "TensorRT-RTX 1.7 has no bf16 kernel for it",
    },
}
# Inputs whose type the operator fixes: scales of Resize are float32 whatever is resized.
FIXED_INPUTS = {"Resize": (1, 2, 3)}
BF16_OPSET = 22  # the first opset in which Conv, ConvTranspose and InstanceNormalization take bfloat16


def cast_model(
    model: onnx.ModelProto,
    precision: str,
    extremes: Mapping[str, float] | None = None,
    checked_on: str = "the images seen",
) -> tuple[onnx.ModelProto, list[str]]:
    """A typed copy of an fp32 model, and what stayed in fp32 with the reason.

    `precision`: `fp16` or `bf16`. `extremes`: largest |x| per tensor (`observe_extremes`) on the images that
    `checked_on` names; a tensor out of range never exists in 16 bits. Inputs and outputs keep their types. Raises
    CheckFailed where a weight is outside the format's range, by name.
    """
    too_large = out_of_range(extremes or {}, precision)
    caster = _Caster(model, precision, set(too_large))
    result = caster.run()
    present = {node.op_type for node in model.graph.node}
    kept = [f"{operator}: {why}" for operator, why in FP32_OPERATORS[precision].items() if operator in present]
    kept.append("LayerNormalization: 16-bit in and out, arithmetic in fp32 (stash_type 1)")
    kept.append("from the last resize on: the decision per pixel")
    widened = {name: value for name, value in too_large.items() if name in caster.widened}
    kept.extend(reasons(model, widened, precision, checked_on))
    return result, kept


class _Caster:
    """One pass over the nodes in order: each gets a compute type, casts go where types meet, each cast once."""

    def __init__(self, model: onnx.ModelProto, precision: str, too_large: set[str]) -> None:
        self.precision = precision
        self.too_large = too_large
        self.widened: set[str] = set()  # those of `too_large` that would be in 16 bits if they were not
        self.half = HALF_TYPES[precision]
        self.model = copy_of(model)
        self.graph = self.model.graph
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}
        types = value_types(model)
        self.type_of = {name: elem for name, elem in types.items() if elem == TensorProto.FLOAT}
        self.casts: dict[tuple[str, int], str] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.new_constants: list[onnx.TensorProto] = []
        self.fp32_values = set(logits_of_heads(model))  # and everything computed from them

    def run(self) -> onnx.ModelProto:
        for node in self.graph.node:
            self._convert(node)
        used = {name for node in self.nodes for name in node.input}
        constants = [tensor for tensor in [*self.constants.values(), *self.new_constants] if tensor.name in used]
        del self.graph.node[:], self.graph.initializer[:], self.graph.value_info[:]
        self.graph.node.extend(self.nodes)
        self.graph.initializer.extend(constants)
        if self.precision == "bf16":
            self.model.opset_import[0].version = max(BF16_OPSET, self.model.opset_import[0].version)
        onnx.checker.check_model(self.model, full_check=True)
        return self.model

    def _compute_type(self, node: onnx.NodeProto) -> int:
        decides = self.fp32_values.intersection(node.output) or self.fp32_values.intersection(node.input)
        if decides:
            self.fp32_values.update(node.output)
        if decides or node.op_type in FP32_OPERATORS[self.precision]:
            return TensorProto.FLOAT
        too_large = self.too_large.intersection([*node.input, *node.output])
        self.widened |= too_large
        return TensorProto.FLOAT if too_large else self.half

    def _convert(self, original: onnx.NodeProto) -> None:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        compute = self._compute_type(node)
        fixed = FIXED_INPUTS.get(node.op_type, ())
        for index, name in enumerate(node.input):
            if name in self.type_of and index not in fixed:
                node.input[index] = self._as_type(name, compute)
        if node.op_type == "Cast" and self.type_of.get(node.output[0]):
            for attribute in node.attribute:
                if attribute.name == "to":
                    attribute.i = compute
        for name in node.output:
            if name in self.type_of:
                self.type_of[name] = compute
        self.nodes.append(node)

    def _as_type(self, name: str, elem_type: int) -> str:
        """The name under which `name` is available in `elem_type`."""
        if self.type_of[name] == elem_type:
            return name
        key = (name, elem_type)
        if key not in self.casts:
            self.casts[key] = f"{name}.{TensorProto.DataType.Name(elem_type).lower()}"
            if name in self.constants:
                self.new_constants.append(self._cast_constant(self.constants[name], self.casts[key]))
            else:
                self.nodes.append(
                    helper.make_node("Cast", [name], [self.casts[key]], f"cast/{self.casts[key]}", to=elem_type)
                )
        return self.casts[key]

    def _cast_constant(self, tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
        values = numpy_helper.to_array(tensor)
        largest = float(np.abs(values).max()) if values.size else 0.0
        if not largest <= LARGEST[self.precision]:
            cure = "use bf16 or fp32" if self.precision == "fp16" else "use fp32"
            raise CheckFailed(f"{tensor.name} reaches {largest:.3g}, outside the range of {self.precision}: {cure}")
        return numpy_helper.from_array(values.astype(helper.tensor_dtype_to_np_dtype(self.half)), name)
