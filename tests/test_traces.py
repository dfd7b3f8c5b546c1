"""Traces are shared between tests only where nothing about them differs."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch

from tests.traces import key_of, sharing


class Scale(torch.nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.arange(4.0))
        self.factor = factor


def test_equal_modules_have_one_key_and_any_difference_another() -> None:
    other_weight, other_type = Scale(2.0), Scale(2.0).half()
    with torch.no_grad():
        other_weight.weight[3] = 5.0

    assert key_of((Scale(2.0), ["x"])) == key_of((Scale(2.0), ["x"]))
    different = [(Scale(3.0), ["x"]), (other_weight, ["x"]), (other_type, ["x"]), (Scale(2.0), ["y"])]
    assert len({key_of(one) for one in [*different, (Scale(2.0), ["x"])]}) == 5


def test_a_graph_is_made_once(tmp_path: Path) -> None:
    made = []

    def trace(_module: torch.nn.Module, name: str) -> onnx.ModelProto:
        made.append(name)
        return onnx.ModelProto(producer_name=name)

    shared = sharing(trace, tmp_path)

    assert [shared(Scale(1.0), name).producer_name for name in "aba"] == ["a", "b", "a"]
    assert made == ["a", "b"]
    local = type("Local", (Scale,), {})(1.0)  # which cannot be pickled
    shared(local, "c"), shared(local, "c")
    assert made == ["a", "b", "c", "c"]
