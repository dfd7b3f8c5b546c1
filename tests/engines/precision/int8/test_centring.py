"""Centred values: the same function, whose statistics are known without another look at the images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segdino_deploy.engines.precision.int8.centring import centre_values, find_value_paths
from segdino_deploy.engines.precision.int8.products import ALL_KINDS, find_products
from segdino_deploy.export.graph import load_onnx
from tests.conftest import read_golden
from tests.engines.precision.int8.helpers import (
    assert_same_statistics,
    copied,
    observe,
    relative_difference,
    run,
    small_graph,
)

Exported = Callable[[str], Path]


@pytest.mark.parametrize("name", ["v1_convt", "v1_convt_swiglu", "v2"])
def test_centring_keeps_the_function_and_makes_the_mean_of_the_values_zero(name: str, exported: Exported) -> None:
    model, images = load_onnx(exported(name) / "model.onnx"), read_golden(name).image
    paths = find_value_paths(model, find_products(model, ALL_KINDS))
    statistics = observe(model, images)
    before = copied(statistics)

    centred = centre_values(model, paths, statistics)

    assert relative_difference(run(centred, images), run(model, images)) < 1e-5
    anew = observe(centred, images)
    assert_same_statistics(statistics, anew)
    assert len(paths) == 12
    for path in paths:
        seen = anew[path.projection.activation]
        assert np.abs(seen.mean).max() < 1e-5 * max(1.0, np.abs(before[path.projection.activation].high).max())
        assert seen.energy.sum() < before[path.projection.activation].energy.sum()


def test_each_path_leads_from_one_qkv_to_the_projection_of_its_block(exported: Exported) -> None:
    model = load_onnx(exported("v1_convt") / "model.onnx")
    paths = find_value_paths(model, find_products(model, ALL_KINDS))

    assert [(path.qkv, path.projection.node) for path in paths] == [
        (f"backbone.blocks.{i}.attn.qkv/MatMul", f"backbone.blocks.{i}.attn.proj/MatMul") for i in range(12)
    ]


def test_an_attention_without_a_common_qkv_is_left_alone() -> None:
    assert find_value_paths(small_graph(), find_products(small_graph(), ALL_KINDS)) == []
