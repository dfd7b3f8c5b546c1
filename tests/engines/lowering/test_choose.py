"""How spellings are chosen: by time, only where they compute the same, and never where a name does not fit."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from segdino_deploy import Bundle, build_engine
from segdino_deploy.canary import Canary
from segdino_deploy.engines.build import BuildOptions
from segdino_deploy.engines.build.contract import BuildRequest
from segdino_deploy.engines.lowering import choose
from segdino_deploy.engines.lowering.choose import apply_lowerings, choose_lowerings, lower, parse_lowering
from segdino_deploy.errors import InputError
from segdino_deploy.manifest import LoweringRecord
from segdino_deploy.progress import ignore

Exported = Callable[[str], Path]
LOGITS = np.linspace(-1, 1, 12, dtype=np.float32).reshape(1, 1, 3, 4)


def timed_backend(slow_operator: str, wrong_operator: str = "", refused_operator: str = "") -> choose.Open:
    """A backend that takes 30 ms where a graph has `slow_operator`, and 3 ms where it has not."""

    def open_model(model: onnx.ModelProto) -> choose.Run:
        operators = {node.op_type for node in model.graph.node}
        if refused_operator in operators:
            raise RuntimeError(f"no kernel for {refused_operator}\ntrace")

        def run() -> choose.Outputs:
            time.sleep(0.03 if slow_operator in operators else 0.003)
            return {"logits": LOGITS + (1 if wrong_operator in operators else 0)}

        return run

    return open_model


@pytest.fixture
def chosen(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> Callable[[choose.Open], dict[str, LoweringRecord]]:
    """Records by part. Only what is three times faster is taken, so that a busy machine decides nothing."""
    monkeypatch.setattr(choose, "WORTH", 3)
    model = onnx.load(exported("v1_convt") / "model.onnx")

    def choose_for(backend: choose.Open) -> dict[str, LoweringRecord]:
        records = choose_lowerings(model, "onnxruntime", backend, {"logits": LOGITS}, 1e-4, ignore)[1]
        return {record.part: record for record in records}

    return choose_for


Chosen = Callable[[choose.Open], dict[str, LoweringRecord]]


def test_the_fastest_spelling_of_each_part_is_taken(chosen: Chosen) -> None:
    records = chosen(timed_backend(slow_operator="Softmax"))

    assert records["attention"].chosen in ("attention-operator", "attention-onnxruntime")
    assert records["attention"].times_faster is not None and records["attention"].times_faster > 3
    assert set(records["attention"].median_ms) == {"as exported", "attention-operator", "attention-onnxruntime"}
    assert records["gelu"].chosen == "as exported"
    assert "group norm" not in records  # v1 has none


def test_a_spelling_that_computes_something_else_is_left_out(chosen: Chosen) -> None:
    records = chosen(timed_backend("Gelu", wrong_operator="Erf"))

    assert records["gelu"].chosen == "as exported"
    assert records["gelu"].refused == {"gelu-erf": "logits are 1.0e+00 from the reference, allowed 1.0e-04"}


def test_a_spelling_that_the_backend_refuses_is_recorded(chosen: Chosen) -> None:
    records = chosen(timed_backend("Softmax", refused_operator="Attention"))

    assert records["attention"].chosen == "attention-onnxruntime"
    assert records["attention"].refused == {"attention-operator": "no kernel for Attention"}


def request_for(model: onnx.ModelProto, bundle: Bundle, lowering: tuple[str, ...]) -> BuildRequest:
    canary = Canary.read(bundle.file("canary.npz"))
    return BuildRequest(model, bundle.manifest.model, "fp32", canary, bundle.path, "name", lowering)


@pytest.mark.parametrize(
    ("lowering", "backend", "name"),
    [
        (("none",), None, "tensorrt-rtx"),
        (("none",), timed_backend("Softmax"), "tensorrt-rtx"),
        (("auto",), None, "cpu"),
    ],
)
def test_nothing_is_respelled_unmeasured_or_unwanted(
    lowering: tuple[str, ...], backend: choose.Open | None, name: str, bundle_copy: Callable[[str], Bundle]
) -> None:
    bundle = bundle_copy("v1_convt")
    model = onnx.load(bundle.path / "model.onnx")

    assert lower(request_for(model, bundle, lowering), name, backend) == (model, [])


def test_without_a_measurement_only_what_is_less_to_do_is_taken(bundle_copy: Callable[[str], Bundle]) -> None:
    bundle = bundle_copy("v1_convt")
    model = onnx.load(bundle.path / "model.onnx")

    _, records = lower(request_for(model, bundle, ("auto",)), "tensorrt-rtx", None)

    assert [(record.chosen, record.median_ms) for record in records] == [("tap-norms-as-one", {})]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fast", "--lowering: 'fast' is none of auto, none, split-qkv"),
        ("attention-operator,attention-onnxruntime", "spell the same part of the graph"),
        ("", "--lowering: '' is none of auto"),
        ("auto,split-qkv", "auto stands alone"),
        ("split-qkv,split-qkv", "split-qkv is given twice"),
    ],
)
def test_names_that_do_not_fit_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_lowering(text)


def test_a_name_that_is_not_for_the_backend_or_finds_nothing_is_refused(exported: Exported) -> None:
    model = onnx.load(exported("v1_convt") / "model.onnx")

    with pytest.raises(InputError, match="attention-onnxruntime is not for openvino"):
        apply_lowerings(model, "openvino", ("attention-onnxruntime",))
    with pytest.raises(InputError, match="group-norm-moments finds nothing to rewrite"):
        apply_lowerings(model, "openvino", ("group-norm-moments",))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_tensorrt_rtx_builds_the_decomposed_attention(precision: str, bundle_copy: Callable[[str], Bundle]) -> None:
    options = BuildOptions(precision, "tensorrt-rtx", lowering=("none",))  # type: ignore[arg-type]
    engine = build_engine(bundle_copy("v1_convt"), options)

    assert engine.lowering == []
    assert engine.receipt["network_layers"] > 0


def test_tensorrt_rtx_builds_the_attention_operator_in_fp16(bundle_copy: Callable[[str], Bundle]) -> None:
    bundle = bundle_copy("v1_convt")

    engine = build_engine(bundle, BuildOptions("fp16", "tensorrt-rtx", lowering=("attention-tensorrt",)))

    assert [record.chosen for record in engine.lowering] == ["attention-tensorrt"]
    assert Bundle.open(bundle.path).manifest.engines["tensorrt-rtx-fp16"].lowering == engine.lowering


def test_an_engine_with_a_named_spelling_passes_its_canary(bundle_copy: Callable[[str], Bundle]) -> None:
    options = BuildOptions("fp32", "onnxruntime", lowering=("attention-onnxruntime", "group-norm-moments"))

    engine = build_engine(bundle_copy("v2"), options)

    assert engine.canary is not None and engine.canary.passed
    assert engine.receipt["operators"]["MultiHeadAttention"] == 12
