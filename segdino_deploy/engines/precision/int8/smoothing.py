"""SmoothQuant (Xiao et al., arXiv 2211.10438, equation 4) inside the graph, its strength searched per layer.

x W = (x / s) (diag(s) W): s takes outlier channels out of the activation and puts them into the weights, whose scales
are per output channel. Where 1 / s goes costs nothing: into the LayerNorm before qkv and fc1, into the values' rows of
qkv before proj. Before fc2 there is only GELU: an explicit product, taken only where the error falls enough for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from segdino_deploy.engines.calibration.statistics import ChannelStatistics
from segdino_deploy.engines.precision.int8.centring import Statistics, ValuePath
from segdino_deploy.engines.precision.int8.edit import Edit
from segdino_deploy.engines.precision.int8.products import Product
from segdino_deploy.engines.precision.int8.scales import activation_round_trip
from segdino_deploy.engines.precision.int8.targets import Activations
from segdino_deploy.engines.precision.int8.weights import dequantize_weight, quantize_weight
from segdino_deploy.errors import InputError
from segdino_deploy.progress import OnStage, ignore

STRENGTHS = (0.0, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0)  # 0: as it is
EXPLICIT_WORTH = 0.25  # an explicit product costs time: it must take the error below this share of what it is without
FACTOR_LIMITS = (1e-5, 1e5)
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Site:
    """One activation tensor that can be scaled per channel, and the weight products that read it."""

    products: tuple[Product, ...]
    norm: str = ""  # name of the LayerNormalization that makes it
    values: ValuePath | None = None  # or the attention that makes it; else an explicit product is needed

    @property
    def activation(self) -> str:
        return self.products[0].activation

    @property
    def name(self) -> str:
        """The layer that reads it: `backbone.blocks.3.attn.qkv`. A group may have several sites."""
        return self.products[0].node.split("/")[0]

    @property
    def is_free(self) -> bool:
        return bool(self.norm) or self.values is not None


def find_sites(model: onnx.ModelProto, products: list[Product], paths: list[ValuePath]) -> list[Site]:
    """The activations of matrix products of which every reader is a quantizable product."""
    producer = {name: node for node in model.graph.node for name in node.output}
    by_activation: dict[str, list[Product]] = {}
    for product in products:
        if product.kind == "weight" and not product.is_convolution:
            by_activation.setdefault(product.activation, []).append(product)
    readers: dict[str, int] = {}
    for node in model.graph.node:
        for name in set(node.input):
            readers[name] = readers.get(name, 0) + 1
    of_values = {path.projection.activation: path for path in paths}
    sites = []
    for activation, group in by_activation.items():
        made_by = producer.get(activation)
        if made_by is None or readers[activation] != len(group):
            continue
        norm = made_by.name if made_by.op_type == "LayerNormalization" and len(made_by.input) == 3 else ""
        if not norm and activation not in of_values and len(group) > 1:
            continue  # an explicit product serves one reader
        sites.append(Site(tuple(group), norm, of_values.get(activation)))
    return sites


def smooth(
    model: onnx.ModelProto,
    sites: list[Site],
    statistics: Statistics,
    activations: Activations,
    strengths: Mapping[str, float] | None = None,
    on_count: OnStage = ignore,
) -> tuple[onnx.ModelProto, dict[str, float]]:
    """The same function with its activations smoothed, and the strength of every site by name.

    `strengths`: those of an earlier search, taken as they are; None: searched. `statistics` are brought up to date.
    """
    if strengths is not None:
        _check_given(strengths, [site.name for site in sites])
    edit = Edit(model)
    chosen: dict[str, float] = {}
    for index, site in enumerate(sites):
        seen = statistics[site.activation]
        weights = [_weight_of(edit, product) for product in site.products]
        if strengths is not None:
            chosen[site.name] = strengths.get(site.name, 0.0)
        else:
            chosen[site.name] = search_strength(seen, weights, activations, site.is_free)
            on_count("searching strengths of smoothing", index + 1, len(sites))
        if chosen[site.name] > 0:
            _apply(edit, site, smoothing_factors(seen, weights, chosen[site.name]), statistics)
    return edit.finish(), chosen


def _check_given(strengths: Mapping[str, float], layers: list[str]) -> None:
    for name, strength in strengths.items():
        if name not in layers:
            raise InputError(f"smoothing: {name!r} is no layer that can be smoothed (layers: {', '.join(layers)})")
        if not 0 <= strength <= 1:
            raise InputError(f"smoothing: {name} = {strength:g} is not from 0 to 1")


def smoothing_factors(seen: ChannelStatistics, weights: list[Float64], strength: float) -> Float64:
    """s_j = max|x_j|^a / max|W_j|^(1 - a), `[C]`, scaled to a geometric mean of 1; 1 for channels without signal."""
    largest_x = np.maximum(np.abs(seen.low), np.abs(seen.high))
    largest_w = np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0)
    alive = (largest_x > 0) & (largest_w > 0)
    factors = np.ones(len(largest_x))
    factors[alive] = largest_x[alive] ** strength / largest_w[alive] ** (1 - strength)
    if alive.any():
        factors[alive] /= np.exp(np.log(factors[alive]).mean())
    return np.clip(factors, *FACTOR_LIMITS)


def search_strength(seen: ChannelStatistics, weights: list[Float64], activations: Activations, is_free: bool) -> float:
    """The strength with the least squared error of the quantized products on sample rows.

    Factors and ranges come from every second image, the error from rows of the others, both ways: at full strength
    every channel ends exactly at the largest value that was seen, and would clip on the next image.
    """
    first, second = seen.halves or (seen, seen)  # of a single image there are no others
    errors = {
        strength: _error(first, second.rows, weights, strength, activations)
        + _error(second, first.rows, weights, strength, activations)
        for strength in STRENGTHS
    }
    best = min(errors, key=lambda strength: errors[strength])
    allowed = errors[0.0] * (1.0 if is_free else EXPLICIT_WORTH)
    return best if errors[best] < allowed else 0.0


def _error(
    fitted: ChannelStatistics,
    rows: NDArray[np.float32],
    weights: list[Float64],
    strength: float,
    activations: Activations,
) -> float:
    """Sum of squares of x W - q(x) q(W) over `rows`, smoothed and quantized by the statistics `fitted`."""
    factors = smoothing_factors(fitted, weights, strength) if strength else np.ones(len(fitted.low))
    limits = fitted.mapped(0.0, factors).range
    x = (rows / factors).astype(np.float32)
    rounded_x = x if limits[0] == limits[1] else activation_round_trip(x, limits, activations)
    total = 0.0
    for weight in weights:
        single = (weight * factors[:, None]).astype(np.float32)
        rounded = dequantize_weight(*quantize_weight(single, axis=1), axis=1)
        total += float(np.square(x @ single - rounded_x @ rounded, dtype=np.float64).sum())
    return total


def _apply(edit: Edit, site: Site, factors: Float64, statistics: Statistics) -> None:
    for product in site.products:
        _scale_weight(edit, product.node, factors[:, None])
    if site.norm:
        for index in (1, 2):
            parameter = edit.constant(edit.node[site.norm].input[index])
            assert parameter is not None
            edit.set_operand(site.norm, index, (parameter / factors).astype(np.float32), f"smooth{index}")
    elif site.values is not None:
        only_values = np.concatenate([np.ones(2 * len(factors)), 1 / factors])
        _scale_weight(edit, site.values.qkv, only_values)
        place = edit.bias_add(site.values.qkv)
        if place is not None:
            bias = edit.constant(place[0].input[place[1]])
            assert bias is not None
            edit.set_operand(place[0].name, place[1], (bias * only_values).astype(np.float32), "smooth")
        statistics[site.values.values] = statistics[site.values.values].mapped(0.0, factors)
    else:
        edit.multiply_before(site.products[0].node, 0, (1 / factors).astype(np.float32))
        statistics[edit.node[site.products[0].node].input[0]] = statistics[site.activation].mapped(0.0, factors)
        return
    statistics[site.activation] = statistics[site.activation].mapped(0.0, factors)


def _weight_of(edit: Edit, product: Product) -> Float64:
    """`[in, out]` as it is in the edited graph."""
    weight = edit.constant(edit.node[product.node].input[1])
    assert weight is not None
    return weight.astype(np.float64)


def _scale_weight(edit: Edit, node: str, factors: Float64) -> None:
    weight = edit.constant(edit.node[node].input[1])
    assert weight is not None
    edit.set_operand(node, 1, (weight.astype(np.float64) * factors).astype(np.float32), "weight")
