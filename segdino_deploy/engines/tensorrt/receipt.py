"""The precision receipt: what a parsed network, or an engine that was read back, computes in. Never what was asked."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segdino_deploy.errors import CheckFailed
from segdino_deploy.export.graph import is_resizing_matrix
from segdino_deploy.manifest import Precision

if TYPE_CHECKING:
    import tensorrt as trt

WEIGHT_LAYERS = ("MATRIX_MULTIPLY", "CONVOLUTION", "DECONVOLUTION")
# Layers that pass a constant on: what stands before them is still a weight.
PASSING = ("CAST", "SHUFFLE", "DEQUANTIZE", "IDENTITY", "QUANTIZE", "UNSQUEEZE", "SQUEEZE")
SHORT_NAMES = {"float": "fp32", "half": "fp16", "bf16": "bf16", "int8": "int8"}


# How the inspector spells them, in types and in names of kernels.
SPELLINGS: dict[str, tuple[str, ...]] = {
    "fp32": ("fp32", "float", "f32"),
    "fp16": ("fp16", "half", "float16", "f16", "h16", "h88"),
    "bf16": ("bf16", "bfloat16"),
    "int8": ("int8", "i8", "imma"),
}


@dataclass(frozen=True)
class Layer:
    """One layer of a parsed network. Types as TensorRT names them, in small letters: `float`, `half`, `bf16`."""

    name: str
    kind: str  # of `LayerType`
    inputs: tuple[str, ...]  # tensor names
    outputs: tuple[str, ...]
    input_types: tuple[str, ...]
    output_types: tuple[str, ...]


def layers_of(network: trt.INetworkDefinition) -> list[Layer]:
    """The layers in order."""
    return [_read(network.get_layer(index)) for index in range(network.num_layers)]


def _read(layer: trt.ILayer) -> Layer:
    inputs = [tensor for i in range(layer.num_inputs) if (tensor := layer.get_input(i)) is not None]
    outputs = [layer.get_output(i) for i in range(layer.num_outputs)]
    return Layer(
        layer.name,
        _last(layer.type),
        tuple(tensor.name for tensor in inputs),
        tuple(tensor.name for tensor in outputs),
        tuple(_last(tensor.dtype).lower() for tensor in inputs),
        tuple(_last(layer.get_output_type(i)).lower() for i in range(layer.num_outputs)),
    )


def network_receipt(layers: list[Layer]) -> dict[str, Any]:
    """Counts for the manifest: layers by kind and by output type, weight products by the type they compute in."""
    kinds = Counter(layer.kind for layer in layers)
    return {
        "network_layers": len(layers),
        "layer_types": dict(sorted(kinds.items())),
        "layer_precisions": dict(sorted(Counter(next(iter(x.output_types), "none") for x in layers).items())),
        "weight_products": weight_products(layers),
        "normalizations": kinds["NORMALIZATION"],
        "casts": kinds["CAST"],
        "quantize_layers": kinds["QUANTIZE"],
        "dequantize_layers": kinds["DEQUANTIZE"],
    }


def weight_products(layers: list[Layer]) -> dict[str, int]:
    """Matrix products and convolutions with constant weights by type; int8 where both operands are dequantized."""
    return dict(sorted(Counter(precision for _, precision in _weight_products(layers)).items()))


def require_precisions(layers: list[Layer], expected: dict[str, int], engine: str) -> None:
    """CheckFailed, naming layers, where the network's weight products are not those of the typed ONNX file."""
    found = weight_products(layers)
    if found == expected:
        return
    surplus = {precision for precision in found if found[precision] > expected.get(precision, 0)}
    names = [layer.name for layer, precision in _weight_products(layers) if precision in surplus]
    raise CheckFailed(
        f"{engine}: the request did not take effect: weight products are {_words(found)} in the network, "
        f"{_words(expected)} in the model (such as {', '.join(names[:3]) or 'one that is missing'}); nothing was built"
    )


def _weight_products(layers: list[Layer]) -> Iterator[tuple[Layer, str]]:
    producer = {name: layer for layer in layers for name in layer.outputs}

    def source(tensor: str) -> Layer | None:
        """The layer that made a value, before casts, reshapes and Q/DQ."""
        layer = producer.get(tensor)
        while layer is not None and layer.kind in PASSING and layer.inputs:
            layer = producer.get(layer.inputs[0])
        return layer

    def is_dequantized(tensor: str) -> bool:
        layer = producer.get(tensor)
        while layer is not None and layer.kind in ("SHUFFLE", "UNSQUEEZE", "SQUEEZE"):
            layer = producer.get(layer.inputs[0])
        return layer is not None and layer.kind == "DEQUANTIZE"

    for layer in layers:
        if layer.kind not in WEIGHT_LAYERS:
            continue
        sources = [source(tensor) for tensor in layer.inputs[:2]]
        constants = [made for made in sources if made is not None and made.kind == "CONSTANT"]
        has_weight = len(layer.inputs) == 1 or any(not is_resizing_matrix(made.name) for made in constants)
        if has_weight:
            quantized = len(layer.inputs) > 1 and all(is_dequantized(tensor) for tensor in layer.inputs[:2])
            yield layer, "int8" if quantized else SHORT_NAMES.get(layer.input_types[0], layer.input_types[0])


def inspected_receipt(engine_information: str) -> dict[str, Any]:
    """Counts of a built engine from the inspector's JSON: layers, and output tensors by type.

    Raises ValueError, TypeError, KeyError or AttributeError where it is no such JSON.
    """
    layers = json.loads(engine_information)["Layers"]
    return {"engine_layers": len(layers), "engine_output_types": dict(sorted(_output_types(layers).items()))}


def require_inspected(engine_information: str, precision: Precision, engine: str) -> None:
    """CheckFailed where the inspector names types, and the asked one nowhere: in no tensor, no weights and no kernel.

    That is all that can be said: an engine keeps some layers in other types, and a backend may quantize weights alone.
    """
    layers = json.loads(engine_information)["Layers"]
    found = {name: count for name, count in _output_types(layers).items() if name in SPELLINGS}
    text = " ".join(_said_of(layers)).lower().replace("uint8", "")
    if precision == "fp16":
        text = re.sub("bf16|bfloat16", "", text)
    if found and not any(spelling in text for spelling in SPELLINGS[precision]):
        raise CheckFailed(
            f"{engine}: the request did not take effect: layers of the engine give {_words(found)}, and there is "
            f"no {precision} in it; nothing was built"
        )


def _output_types(layers: list[Any]) -> Counter[str]:
    types: Counter[str] = Counter()
    for layer in layers:
        if isinstance(layer, dict):  # names only, where the engine was built without details
            types.update(_type_in(output.get("Format/Datatype", "")) for output in layer.get("Outputs", []))
    return types


def _said_of(found: object) -> Iterator[str]:
    """All texts but names, which people have given."""
    if isinstance(found, str):
        yield found
    elif isinstance(found, list):
        for item in found:
            yield from _said_of(item)
    elif isinstance(found, dict):
        for key, item in found.items():
            if key not in ("Name", "Metadata"):
                yield from _said_of(item)


def _type_in(description: str) -> str:
    """`Half` or `Row major linear FP16 format`: the one word that is a type."""
    words = {"fp32": "fp32", "float": "fp32", "fp16": "fp16", "half": "fp16", "bf16": "bf16", "bfloat16": "bf16"}
    words |= {"int8": "int8", "uint8": "uint8", "int32": "int32", "int64": "int64", "bool": "bool", "fp8": "fp8"}
    return next((words[word] for word in description.lower().split() if word in words), "other")


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {precision}" for precision, count in counts.items()) or "none"


def _last(value: object) -> str:
    return str(value).rpartition(".")[2]
