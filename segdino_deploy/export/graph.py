"""Small pure operations on ONNX models: outputs, metadata, operator counts. No torch."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper
from pydantic import ValidationError

from segdino_deploy.errors import InputError, one_line
from segdino_deploy.manifest import ModelCard

CARD_KEY = "segdino_deploy.card"  # of the ONNX metadata: the model's card as JSON
INPUT = "image"
LOGITS = "logits"  # in every graph, output or not, a float32 value of each head: `logits`, or `<head>.logits`
WEIGHT_PRODUCTS = ("MatMul", "Gemm", "Conv", "ConvTranspose")


def is_resizing_matrix(constant: str) -> bool:
    """Whether a constant, by its name, resizes rows or columns of a map: no weight, though it stands in a MatMul."""
    return re.search(r"[./](rows|columns)(\.|$)", constant) is not None  # a typed copy has the type behind the name


def load_onnx(path: Path) -> onnx.ModelProto:
    """Reads an ONNX file. InputError where it is none."""
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf's DecodeError has no stable home
        raise InputError(f"{path}: not an ONNX file ({one_line(error)})") from error


def read_card(model: onnx.ModelProto, path: Path) -> ModelCard:
    """The card inside an exported model. InputError where the file was not made by segdino-deploy."""
    for entry in model.metadata_props:
        if entry.key == CARD_KEY:
            try:
                return ModelCard.model_validate_json(entry.value)
            except ValidationError as error:
                raise InputError(f"{path}: its card is of another version of segdino-deploy; export again") from error
    raise InputError(f"{path}: not a segdino-deploy model (no card inside); export the checkpoint with segdino-deploy")


def with_card(model: onnx.ModelProto, card: ModelCard) -> onnx.ModelProto:
    """A copy of `model` that carries `card`."""
    result = copy_of(model)
    helper.set_model_props(result, {CARD_KEY: json.dumps(card.model_dump(mode="json"))})
    return result


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    result = onnx.ModelProto()
    result.CopyFrom(model)
    return result


def select_outputs(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """A copy with only the outputs `names` (in this order) and without the nodes and constants nobody needs then."""
    result = copy_of(model)
    graph = result.graph
    by_name = {output.name: output for output in graph.output}
    kept = [onnx.ValueInfoProto.FromString(by_name[name].SerializeToString()) for name in names]
    del graph.output[:]
    graph.output.extend(kept)
    _replace(graph.node, needed_nodes(graph.node, names))
    read = {name for node in graph.node for name in node.input}
    _replace(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in read])
    produced = {name for node in graph.node for name in node.output}
    _replace(graph.value_info, [value for value in graph.value_info if value.name in produced])
    return result


def needed_nodes(nodes: Sequence[onnx.NodeProto], outputs: Iterable[str]) -> list[onnx.NodeProto]:
    """The nodes that `outputs` depend on, in their order."""
    needed = set(outputs)
    kept = []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    return kept[::-1]


def _replace(field, items: list) -> None:  # type: ignore[no-untyped-def,type-arg]
    copies = [type(item).FromString(item.SerializeToString()) for item in items]
    del field[:]
    field.extend(copies)


def add_outputs(model: onnx.ModelProto, names: Sequence[str], elem_type: int) -> onnx.ModelProto:
    """A copy in which the inner values `names` are outputs too; `model` itself where all of them already are."""
    present = {output.name for output in model.graph.output}
    missing = [name for name in names if name not in present]
    if not missing:
        return model
    result = copy_of(model)
    result.graph.output.extend(helper.make_tensor_value_info(name, elem_type, None) for name in missing)
    return result


def logits_of_heads(model: onnx.ModelProto) -> list[str]:
    """Names of the heads' logits in the graph, outputs or not, in graph order."""
    values = [name for node in model.graph.node for name in node.output]
    return [name for name in values if re.fullmatch(rf"([A-Za-z][\w-]*\.)?{LOGITS}", name)]


def with_logits(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with all logits among its outputs, for checking: deployed models often have masks only."""
    return add_outputs(model, logits_of_heads(model), TensorProto.FLOAT)


def value_types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every value of the graph, by ONNX's own type inference."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in [*graph.input, *graph.output, *graph.value_info]:
        types[value.name] = value.type.tensor_type.elem_type
    return types


def operator_counts(nodes: Iterable[onnx.NodeProto]) -> dict[str, int]:
    return dict(sorted(Counter(node.op_type for node in nodes).items()))


def type_name(elem_type: int) -> str:
    """`FLOAT16` to `fp16` and so on."""
    names: dict[int, str] = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16"}
    return names.get(elem_type) or str(TensorProto.DataType.Name(elem_type)).lower()
