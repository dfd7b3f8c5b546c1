"""New weights into an engine, with a TensorRT in host memory; `test_refit_on_gpu` does the same with the real one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from segdino_deploy.engines.tensorrt.flavours import FLAVOURS, Flavour
from segdino_deploy.engines.tensorrt.refit import refit_engine
from segdino_deploy.errors import SegdinoDeployError
from tests.engines.tensorrt import refitting
from tests.engines.tensorrt.refitting import engine_of, is_refittable, weights_in

FLAVOUR = FLAVOURS["tensorrt"]


@pytest.fixture(autouse=True)
def api(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Flavour, "load", lambda _: refitting.API)


def model_of(elem_type: int = TensorProto.FLOAT, **weights: float) -> onnx.ModelProto:
    """Constants `[100, 100]` of one value each, without a node."""
    dtype = onnx.helper.tensor_dtype_to_np_dtype(elem_type)
    tensors = [numpy_helper.from_array(np.full((100, 100), value, dtype), name) for name, value in weights.items()]
    return onnx.helper.make_model(onnx.helper.make_graph([], "weights", [], [], tensors))


def contents(model: onnx.ModelProto) -> dict[str, bytes]:
    return {tensor.name: tensor.raw_data for tensor in model.graph.initializer}


@pytest.mark.parametrize("elem_type", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_weights_of_every_type_are_exchanged(elem_type: int) -> None:
    old, new = model_of(elem_type, a=1, b=2, c=3), model_of(elem_type, a=10, b=20, c=3)

    refitted = refit_engine(FLAVOUR, engine_of(old, ["a", "b", "c"]), new, ["a", "b"])

    assert weights_in(refitted) == contents(new)


def test_a_refitted_engine_can_be_refitted_again() -> None:
    old, new = model_of(a=1), model_of(a=2)

    once = refit_engine(FLAVOUR, engine_of(old, ["a"]), new, ["a"])

    assert is_refittable(once)
    again = refit_engine(FLAVOUR, once, old, ["a"])
    assert weights_in(again) == contents(old)


def test_an_older_api_without_the_flag_for_that_still_keeps_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refitting.API, "SerializationFlag", SimpleNamespace(EXCLUDE_WEIGHTS="EXCLUDE_WEIGHTS"))
    new = model_of(a=2)

    assert weights_in(refit_engine(FLAVOUR, engine_of(model_of(a=1), ["a"]), new, ["a"])) == contents(new)


def test_weights_that_are_fused_with_changed_ones_come_along_unchanged() -> None:
    old, new = model_of(a=1, b=2), model_of(a=10, b=2)

    refitted = refit_engine(FLAVOUR, engine_of(old, ["a", "b"], fused={"a": "b"}), new, ["a"])

    assert weights_in(refitted) == contents(new)


def test_weights_that_the_model_does_not_have_are_named_with_the_cure() -> None:
    both = model_of(a=1, b=2)

    with pytest.raises(SegdinoDeployError, match="asks for b, which is no weight of the model: build it again with"):
        refit_engine(FLAVOUR, engine_of(both, ["a", "b"], fused={"a": "b"}), model_of(a=10), ["a"])
    with pytest.raises(SegdinoDeployError, match="the engine cannot exchange b: build it again with --refittable"):
        refit_engine(FLAVOUR, engine_of(both, ["a"]), both, ["b"])


def test_what_tensorrt_refuses_is_one_line() -> None:
    engine = engine_of(model_of(a=1), ["a"])
    with pytest.raises(SegdinoDeployError, match=r"TensorRT 10\.9\.0 refuses the new a: a has another type or size"):
        refit_engine(FLAVOUR, engine, model_of(TensorProto.FLOAT16, a=1), ["a"])
    with pytest.raises(SegdinoDeployError, match=r"TensorRT 10\.9\.0 cannot open the engine: Serialization assertion"):
        refit_engine(FLAVOUR, b"PK", model_of(a=1), ["a"])


def test_the_engine_is_opened_as_it_was_built(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []

    class Runtime(refitting.Runtime):
        def deserialize_cuda_engine(self, data: bytes) -> refitting.Engine | None:
            opened.append((self.engine_host_code_allowed, self.DLA_core))
            return super().deserialize_cuda_engine(data)

    monkeypatch.setattr(refitting.API, "Runtime", Runtime)
    old, new = model_of(a=1), model_of(a=2)

    refit_engine(FLAVOUR, engine_of(old, ["a"]), new, ["a"])
    refit_engine(FLAVOUR, engine_of(old, ["a"]), new, ["a"], {"version_compatible": True, "dla_core": 1})

    assert opened == [(False, -1), (True, 1)]
