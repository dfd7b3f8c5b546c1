"""Reading a built engine back, with a library that gives the inspector's answers."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from segdino_deploy.engines.tensorrt.inspection import read_back
from segdino_deploy.engines.tensorrt.messages import Messages
from segdino_deploy.errors import CheckFailed
from segdino_deploy.manifest import ModelCard, Precision
from tests.engines.run.model import make_card
from tests.engines.tensorrt.refitting import Logger


class Library:
    """`answer` is what its inspector says; `contexts`: the shapes that contexts given to it have had."""

    __name__ = "inspection"
    ILogger = type("ILogger", (), {"Severity": Logger.Severity, "__init__": lambda _: None})
    LayerInformationFormat = SimpleNamespace(JSON="json")

    def __init__(self, answer: Any, *, opens: bool = True) -> None:
        self.answer, self.opens = answer, opens
        self.contexts: list[Any] = []

    def Runtime(self, _: object) -> Any:  # noqa: N802
        return self

    def deserialize_cuda_engine(self, _: bytes) -> Any:
        return self if self.opens else None

    def create_execution_context(self) -> Any:
        context = SimpleNamespace()
        context.set_input_shape = lambda name, shape: context.__dict__.update({name: shape}) is None
        return context

    def create_engine_inspector(self) -> Any:
        library = self

        class Inspector:
            execution_context: Any = None

            def get_engine_information(self, _: object) -> Any:
                library.contexts.append(self.execution_context)
                if isinstance(library.answer, Exception):
                    raise library.answer
                return library.answer

        return Inspector()


def answer_of(*types: str, tactic: str = "", weights: str = "") -> str:
    layers = [
        {
            "Name": f"blocks.{number}.int8.float16",  # names say nothing
            "TacticName": tactic,
            "Weights": {"Type": weights, "Count": 5},
            "Inputs": [{"Name": "x", "Format/Datatype": "UInt8"}],
            "Outputs": [{"Name": "y_bf16", "Format/Datatype": kind}],
        }
        for number, kind in enumerate(types)
    ]
    return json.dumps({"Layers": layers, "Bindings": ["image", "mask"]})


def read(
    library: Library, tmp_path: Path, precision: Precision = "fp16", card: ModelCard | None = None
) -> tuple[dict[str, Any], str]:
    path = tmp_path / "x.plan"
    path.write_bytes(b"engine")
    api: Any = library
    return read_back(path, api, Messages(api), {}, card or make_card(), precision)


def test_types_are_counted(tmp_path: Path) -> None:
    receipt, note = read(Library(answer_of("Half", "Half", "Row major linear FP32")), tmp_path)

    assert receipt == {"engine_layers": 3, "engine_output_types": {"fp16": 2, "fp32": 1}}
    assert note == ""


@pytest.mark.parametrize(
    ("precision", "found"),
    [("int8", ("Half", "Float")), ("fp16", ("Float",)), ("fp16", ("BF16",)), ("bf16", ("Half", "Float"))],
)
def test_an_engine_that_holds_nothing_of_what_was_asked_for_is_refused(
    precision: Precision, found: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(CheckFailed, match=rf"^x\.plan: the request did not take effect: .* no {precision} .*; nothing"):
        read(Library(answer_of(*found)), tmp_path, precision)


@pytest.mark.parametrize(
    ("precision", "answer"),
    [
        ("int8", answer_of("Half", "Int8")),
        ("int8", answer_of("Half", weights="Int8")),  # only the weights are, as TensorRT-RTX does it
        ("int8", answer_of("Half", tactic="sm80_xmma_gemm_i8f32_i8i32_tn")),
        ("fp16", answer_of("Float", tactic="sm89_xmma_gemm_f16f16_f16f32")),
        ("bf16", answer_of("Float", "BFloat16")),
        ("fp32", answer_of("Float")),
    ],
)
def test_it_may_be_in_any_place(precision: Precision, answer: str, tmp_path: Path) -> None:
    receipt, note = read(Library(answer), tmp_path, precision)

    assert receipt["engine_layers"] > 0
    assert note == ""


@pytest.mark.parametrize(
    "answer",
    [
        "",
        None,
        "no JSON",
        "[1, 2]",
        '{"Layers": 5}',
        '{"Layers": [{"Outputs": 5}]}',
        '{"Layers": [{"Outputs": ["y"]}]}',
        '{"Layers": [{"Outputs": [{"Format/Datatype": 5}]}]}',
        RuntimeError("not here"),
    ],
)
def test_an_answer_that_cannot_be_read_is_a_note_and_costs_no_engine(answer: Any, tmp_path: Path) -> None:
    receipt, note = read(Library(answer), tmp_path)

    assert receipt == {}
    assert note.startswith("the engine could not be read back, so that the receipt is of the parsed network alone: ")


def test_names_alone_and_types_that_nobody_knows_prove_nothing(tmp_path: Path) -> None:
    assert read(Library('{"Layers": ["a", "b"]}'), tmp_path) == ({"engine_layers": 2, "engine_output_types": {}}, "")
    receipt, note = read(Library(answer_of("Quaternion")), tmp_path)
    assert (receipt["engine_output_types"], note) == ({"other": 1}, "")


def test_an_engine_for_another_gpu_is_not_read(tmp_path: Path) -> None:
    assert read(Library("", opens=False), tmp_path) == ({}, "")


def test_layers_of_a_dynamic_batch_are_those_of_the_usual_one(tmp_path: Path) -> None:
    library = Library(answer_of("Half"))
    read(library, tmp_path)
    read(library, tmp_path, card=make_card(1, 4))

    fixed, dynamic = library.contexts
    assert fixed is None
    assert dynamic.image == (1, 16, 32, 3)
