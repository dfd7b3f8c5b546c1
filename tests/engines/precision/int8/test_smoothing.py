"""Smoothing: the same function, less error where channels stand out, and reproducible without a search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from segdino_deploy.engines.calibration.statistics import ChannelStatistics
from segdino_deploy.engines.precision.int8.centring import find_value_paths
from segdino_deploy.engines.precision.int8.products import ALL_KINDS, find_products
from segdino_deploy.engines.precision.int8.qdq import insert_qdq
from segdino_deploy.engines.precision.int8.smoothing import (
    EXPLICIT_WORTH,
    Site,
    find_sites,
    search_strength,
    smooth,
    smoothing_factors,
)
from segdino_deploy.export.graph import load_onnx
from tests.conftest import read_golden
from tests.engines.precision.int8.constructed import with_graph_norm_outliers
from tests.engines.precision.int8.helpers import assert_same_statistics, copied, observe, relative_difference, run

Exported = Callable[[str], Path]


def sites_of(model: onnx.ModelProto) -> list[Site]:
    products = find_products(model, ALL_KINDS)
    return find_sites(model, products, find_value_paths(model, products))


@pytest.mark.parametrize("name", ["v1_convt", "v1_convt_swiglu", "v2_3class_sat"])
def test_smoothing_at_any_strength_keeps_the_function_and_knows_the_new_statistics(
    name: str, exported: Exported
) -> None:
    model, images = load_onnx(exported(name) / "model.onnx"), read_golden(name).image
    sites, statistics = sites_of(model), observe(model, images)
    strengths = {site.name: (0.35, 0.65, 1.0)[i % 3] for i, site in enumerate(sites)}

    smoothed, chosen = smooth(model, sites, statistics, "uint8", strengths)

    assert chosen == strengths
    assert relative_difference(run(smoothed, images), run(model, images)) < 1e-5
    assert_same_statistics(statistics, observe(smoothed, images))


def test_an_explicit_product_stands_only_before_fc2(exported: Exported) -> None:
    model, images = load_onnx(exported("v1_convt") / "model.onnx"), read_golden("v1_convt").image
    sites = sites_of(model)
    assert {site.name for site in sites if not site.is_free} == {f"backbone.blocks.{i}.mlp.fc2" for i in range(12)}

    smoothed, _ = smooth(model, sites, observe(model, images), "uint8", {site.name: 0.5 for site in sites})

    old = {node.name for node in model.graph.node}
    new = [node for node in smoothed.graph.node if node.name not in old]
    assert [node.op_type for node in new] == ["Mul"] * 12
    readers = [n.name for node in new for n in smoothed.graph.node if node.output[0] in n.input]
    assert readers == [f"backbone.blocks.{i}.mlp.fc2/MatMul" for i in range(12)]


def test_outliers_of_a_normalisation_are_smoothed_and_the_local_error_falls(exported: Exported) -> None:
    plain, images = load_onnx(exported("v1_convt") / "model.onnx"), read_golden("v1_convt").image
    model = with_graph_norm_outliers(plain, [1, 7, 20], 50.0)
    assert relative_difference(run(model, images), run(plain, images)) < 1e-5
    statistics = observe(model, images)
    before = copied(statistics)

    fed_by_norms = [site for site in sites_of(model) if site.norm]  # of the others, values would change in qkv's output
    smoothed, strengths = smooth(model, fed_by_norms, statistics, "uint8")

    assert len(strengths) == 24
    assert all(strength > 0 for strength in strengths.values())
    for layer in ("attn.qkv", "mlp.fc1"):
        out = next(n for n in model.graph.node if n.name == f"backbone.blocks.0.{layer}/Add").output[0]
        expected = run(model, images, out)
        errors = []
        for graph, seen in ((model, before), (smoothed, statistics)):
            product = [p for p in find_products(graph) if p.node == f"backbone.blocks.0.{layer}/MatMul"]
            int8 = insert_qdq(graph, product, {product[0].activation: seen[product[0].activation].range}, "uint8")
            errors.append(float(np.sqrt(np.square(run(int8, images, out) - expected).mean())))
        assert errors[1] < 0.2 * errors[0]


def test_given_strengths_are_taken_and_make_the_same_bytes_as_the_search_that_found_them(exported: Exported) -> None:
    model, images = load_onnx(exported("v1_convt") / "model.onnx"), read_golden("v1_convt").image
    sites, statistics = sites_of(model), observe(model, images)
    searched, strengths = smooth(model, sites, copied(statistics), "int8")
    for seen in statistics.values():
        seen.rows = np.empty((0, 0), np.float32)  # no search is possible

    again, chosen = smooth(model, sites, copied(statistics), "int8", strengths)

    assert chosen == strengths
    assert again.SerializeToString(deterministic=True) == searched.SerializeToString(deterministic=True)
    untouched, none = smooth(model, sites, copied(statistics), "int8", {})
    assert set(none.values()) == {0.0}
    assert relative_difference(run(untouched, images[:1]), run(model, images[:1])) == 0


def seen_of(rows: np.ndarray) -> ChannelStatistics:
    x = rows.astype(np.float64)
    return ChannelStatistics(x.min(0), x.max(0), x.mean(0), np.square(x).mean(0), rows.astype(np.float32))


def test_factors_are_those_of_the_paper_with_a_geometric_mean_of_one() -> None:
    seen = seen_of(np.array([[1.0, -16.0, 4.0], [-0.5, 2.0, 1.0]]))
    weights = [np.array([[4.0, 1.0], [-1.0, 0.5], [0.1, 2.0]]), np.array([[1.0], [0.2], [4.0]])]

    factors = smoothing_factors(seen, weights, 0.5)

    # max|x| = 1, 16, 4; max|W| over both = 4, 1, 4: sqrt(1 / 4), sqrt(16 / 1), sqrt(4 / 4); their mean is 2^(1/3)
    np.testing.assert_allclose(factors, np.array([0.5, 4, 1]) / 2 ** (1 / 3))


def test_a_channel_without_signal_is_not_scaled() -> None:
    seen = seen_of(np.array([[0.0, 3.0, 5.0], [0.0, -1.0, 2.0]]))
    factors = smoothing_factors(seen, [np.array([[1.0], [2.0], [0.0]])], 0.65)

    assert factors.tolist() == [1, 1, 1]  # of one living channel the geometric mean is itself


def test_an_explicit_product_needs_a_gain_that_a_free_one_does_not() -> None:
    rng = np.random.default_rng(0)
    outliers = np.ones(32)
    found = {}
    for height in (1.0, 1.5, 2.0, 3.0, 50.0):
        outliers[:3] = height
        seen, weights = seen_of(rng.normal(size=(200, 32)) * outliers), [rng.normal(size=(32, 16))]
        found[height] = [search_strength(seen, weights, "int8", is_free) for is_free in (True, False)]

    assert 0 < EXPLICIT_WORTH < 1
    assert found[50.0][0] > 0 and found[50.0][1] > 0
    assert any(free > 0 and explicit == 0 for free, explicit in found.values())
