"""What TensorRT engines are built with: ranges, and options that would mean nothing."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from segdino_deploy.engines.tensorrt.flavours import FLAVOURS
from segdino_deploy.engines.tensorrt.options import TensorRtOptions, check_options, option_of
from segdino_deploy.errors import InputError


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"workspace_mib": 0}, "--workspace: 0 is not from 1 to 1048576"),
        ({"workspace_mib": 10**18}, "--workspace: 1000000000000000000 is not from 1 to 1048576"),
        ({"aux_streams": -1}, "--aux-streams: -1 is not from 0 to 64"),
        ({"aux_streams": 2**31}, "--aux-streams: 2147483648 is not from 0 to 64"),
        ({"optimization_level": 6}, "--optimization-level: 6 is not from 0 to 5"),
        ({"hardware_compatible": "turing"}, "--hardware-compatible: 'turing' is not same or ampere-plus"),
        ({"compute_capabilities": ("8.9", "sm90")}, "--compute-capabilities: 'sm90' is none; such as 8.9"),
        ({"compute_capabilities": ("08.9",)}, "--compute-capabilities: '08.9' is none; such as 8.9"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(values: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        TensorRtOptions(**values)
    assert str(caught.value) == said


def test_an_engine_without_weights_is_not_one_whose_weights_can_be_exchanged() -> None:
    with pytest.raises(InputError, match="--refittable: leave it out beside --strip-weights: an engine without"):
        TensorRtOptions(refittable=True, strip_weights=True)


@pytest.mark.parametrize(
    ("values", "backend", "said"),
    [
        ({"workspace_mib": 64}, "openvino", "--workspace: is for tensorrt and tensorrt-rtx engines, not for openvino"),
        ({"dla_core": 0}, "tensorrt-rtx", "--dla-core: is for tensorrt engines, not for tensorrt-rtx"),
        (
            {"optimization_level": 5},
            "tensorrt-rtx",
            "--optimization-level: is for tensorrt engines, not for tensorrt-rtx",
        ),
        ({"aux_streams": 0}, "tensorrt-rtx", "--aux-streams: is for tensorrt engines, not for tensorrt-rtx"),
        ({"timing_cache": Path("c")}, "tensorrt-rtx", "--timing-cache: is for tensorrt engines, not for tensorrt-rtx"),
        (
            {"compute_capabilities": ("8.9",)},
            "tensorrt",
            "--compute-capabilities: is for tensorrt-rtx engines, not for tensorrt",
        ),
    ],
)
def test_an_option_that_means_nothing_to_a_backend_is_refused(values: dict[str, Any], backend: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        check_options(TensorRtOptions(**values), backend)
    assert str(caught.value) == said


def test_every_option_belongs_to_a_flavour_and_defaults_to_nothing() -> None:
    known = {field.name for field in fields(TensorRtOptions)}

    assert set().union(*(flavour.options for flavour in FLAVOURS.values())) == known
    assert TensorRtOptions().given() == {}
    for backend in (*FLAVOURS, "openvino", "onnxruntime"):
        check_options(TensorRtOptions(), backend)


def test_compute_capabilities_are_in_order_and_each_once() -> None:
    asked = TensorRtOptions(compute_capabilities=("12.0", "8.9", "12.0"))
    assert asked.compute_capabilities == ("8.9", "12.0")
    assert asked == TensorRtOptions(compute_capabilities=("8.9", "12.0"))


def test_little_memory_limits_the_workspace_unless_one_is_given() -> None:
    assert TensorRtOptions().workspace_bytes is None
    assert TensorRtOptions(low_memory=True).workspace_bytes == 256 * 2**20
    assert TensorRtOptions(workspace_mib=64, low_memory=True).workspace_bytes == 64 * 2**20
    assert option_of("workspace_mib") == "--workspace"
