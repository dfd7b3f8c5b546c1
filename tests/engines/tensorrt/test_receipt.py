"""The precision receipt, from networks that NVIDIA's own parser made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from onnx import TensorProto

from segdino_deploy.engines.tensorrt.flavours import FLAVOURS, TensorRtModule
from segdino_deploy.engines.tensorrt.messages import Messages
from segdino_deploy.engines.tensorrt.receipt import (
    Layer,
    inspected_receipt,
    layers_of,
    network_receipt,
    require_precisions,
    weight_products,
)
from segdino_deploy.errors import CheckFailed
from segdino_deploy.export.graph import load_onnx
from segdino_deploy.receipts import weight_products_by_type
from tests.conftest import Golden
from tests.engines.tensorrt.helpers import parse, small_network

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
Exported = Callable[[str], Path]


@pytest.fixture(scope="module")
def api() -> TensorRtModule:
    return FLAVOURS["tensorrt-rtx"].load()


@pytest.mark.parametrize(
    ("elem_type", "expected"),
    [(TensorProto.FLOAT, "fp32"), (TensorProto.FLOAT16, "fp16"), (TensorProto.BFLOAT16, "bf16")],
)
def test_a_product_counts_in_the_type_of_its_operands(api: TensorRtModule, elem_type: int, expected: str) -> None:
    _, network, _keep = small_network(api, Messages(api), elem_type)
    receipt = network_receipt(layers_of(network))

    assert receipt["weight_products"] == {expected: 1}
    assert receipt["layer_types"]["MATRIX_MULTIPLY"] == 1
    assert receipt["network_layers"] == network.num_layers
    assert receipt["casts"] == 2


def test_the_network_of_every_family_has_the_products_of_its_onnx_file(
    api: TensorRtModule, golden: Golden, exported: Exported
) -> None:
    model = load_onnx(exported(golden.name) / "model.onnx")
    _, network, _keep, parsed = parse(api, Messages(api), model)
    assert parsed
    layers = layers_of(network)

    assert weight_products(layers) == weight_products_by_type(model)
    norms = sum(node.op_type == "LayerNormalization" for node in model.graph.node)
    assert network_receipt(layers)["normalizations"] >= norms > 0


def layer(name: str, kind: str, inputs: tuple[str, ...], output: str, types: tuple[str, ...] = ("float",)) -> Layer:
    return Layer(name, kind, inputs, (output,), types, ("float",))


def quantized(weight: str = "blocks.0.weight", dequantized: bool = True) -> list[Layer]:
    """x and a constant, both quantized (or only x), and their product."""
    return [
        layer("quantize x", "QUANTIZE", ("x",), "x.q"),
        layer("dequantize x", "DEQUANTIZE", ("x.q",), "x.dq"),
        layer(weight, "CONSTANT", (), "w.q"),
        layer("dequantize w", "DEQUANTIZE" if dequantized else "CAST", ("w.q",), "w.dq"),
        layer("broadcast", "SHUFFLE", ("w.dq",), "w.b"),
        layer("product", "MATRIX_MULTIPLY", ("x.dq", "w.b"), "y", ("float", "float")),
    ]


def test_a_product_is_int8_where_both_operands_are_dequantized() -> None:
    assert weight_products(quantized()) == {"int8": 1}
    assert weight_products(quantized(dequantized=False)) == {"fp32": 1}
    assert weight_products(quantized(weight="matmul_26/rows")) == {}  # a resizing matrix is no weight


def test_a_request_that_did_not_take_effect_fails_with_the_layer() -> None:
    require_precisions(quantized(), {"int8": 1}, "tensorrt-int8")
    with pytest.raises(CheckFailed) as caught:
        require_precisions(quantized(dequantized=False), {"int8": 1}, "tensorrt-int8")
    assert str(caught.value) == (
        "tensorrt-int8: the request did not take effect: weight products are 1 fp32 in the network, 1 int8 in the "
        "model (such as product); nothing was built"
    )


def test_the_inspectors_json_is_counted_by_output_type_and_names_alone_are_no_error() -> None:
    # The form of NVIDIA's documentation of IEngineInspector, with and without details.
    details = {
        "Layers": [
            {"Name": "a", "LayerType": "gemm", "Outputs": [{"Name": "y", "Format/Datatype": "Half"}]},
            {"Name": "b", "LayerType": "conv", "Outputs": [{"Name": "z", "Format/Datatype": "Row major linear FP32"}]},
        ]
    }
    assert inspected_receipt(json.dumps(details)) == {
        "engine_layers": 2,
        "engine_output_types": {"fp16": 1, "fp32": 1},
    }
    assert inspected_receipt('{"Layers": ["a", "b", "c"]}') == {"engine_layers": 3, "engine_output_types": {}}
