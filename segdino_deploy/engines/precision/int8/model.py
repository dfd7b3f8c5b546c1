"""From the fp32 model and calibration images to the int8 model of a target: respell, centre, smooth, quantize."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray

from segdino_deploy.engines.calibration.coverage import ClassCounter
from segdino_deploy.engines.calibration.histogram import clip_range
from segdino_deploy.engines.calibration.record import ChannelRecord
from segdino_deploy.engines.calibration.statistics import (
    Outputs,
    Watch,
    observe_channels,
    observe_histograms,
)
from segdino_deploy.engines.precision.int8.centring import (
    Statistics,
    centre_norms,
    centre_values,
    find_value_paths,
)
from segdino_deploy.engines.precision.int8.layout import upsampling_channels_last
from segdino_deploy.engines.precision.int8.products import (
    ALL_KINDS,
    Product,
    describe_groups,
    find_products,
    groups_of,
)
from segdino_deploy.engines.precision.int8.qdq import QuantizedWeight, insert_qdq
from segdino_deploy.engines.precision.int8.scales import Range
from segdino_deploy.engines.precision.int8.smoothing import find_sites, smooth
from segdino_deploy.engines.precision.int8.targets import Int8Target
from segdino_deploy.errors import InputError
from segdino_deploy.evidence import masks_from_outputs
from segdino_deploy.export.operations import infer_shapes
from segdino_deploy.manifest import ModelCard
from segdino_deploy.progress import OnStage, ignore

PROBABILITIES = (0.0, 1.0)  # the range of softmax: it is not watched, its rows reach 1 in most heads
Batches = Callable[[], Iterator[NDArray[np.uint8]]]  # starts the image stream anew


@dataclass(frozen=True)
class Found:
    """What calibration found; a part of `engines.calibration.record.Calibration`."""

    channels: dict[str, ChannelRecord]
    strengths: dict[str, float]
    ranges: dict[str, Range]


@dataclass(frozen=True)
class Conditioned:
    """The same function in fp32, ready to be quantized, and what is known of its tensors."""

    model: onnx.ModelProto
    products: list[Product]  # of the target's kinds
    strengths: dict[str, float]
    statistics: Statistics = field(repr=False)
    weights: dict[str, QuantizedWeight] = field(default_factory=dict, repr=False)  # quantized so far

    @property
    def groups(self) -> list[str]:
        return groups_of(self.products)

    def quantized(
        self, ranges: Mapping[str, Range], target: Int8Target, floats: Collection[str] = ()
    ) -> onnx.ModelProto:
        """The typed int8 model in which the groups `floats` stay in fp32. InputError names an unknown group."""
        check_groups(floats, self.groups)
        products = [product for product in self.products if product.group not in floats]
        return insert_qdq(
            self.model,
            products,
            ranges,
            target.activations,
            statistics=self.statistics,
            known=self.weights,
        )


def groups_at(source: onnx.ModelProto, target: Int8Target) -> list[str]:
    """The groups that a target quantizes in an exported model, in graph order."""
    return groups_of(find_products(respell(source, target), target.kinds))


def unsearched_groups(source: onnx.ModelProto, target: Int8Target) -> list[str]:
    """Those of them that are left in fp32 where no search has shown that they may be int8."""
    return groups_of(
        [product for product in find_products(respell(source, target), target.kinds) if product.kind == "values"]
    )


def check_groups(asked: Collection[str], groups: list[str]) -> None:
    """InputError for a group that is not there."""
    unknown = sorted(set(asked) - set(groups))
    if unknown:
        raise InputError(f"--fp32-groups: no group {unknown[0]!r} in this model; it has {describe_groups(groups)}")


def calibrate(
    source: onnx.ModelProto,
    card: ModelCard,
    target: Int8Target,
    batches: Batches,
    num_images: int,
    method: str,
    strengths: Mapping[str, float] | None = None,
    on_count: OnStage = ignore,
) -> tuple[Found, dict[str, float]]:
    """Streams the images once (minmax) or twice (methods with histograms); also the share of each class in the masks.

    Inputs of depthwise convolutions have the smallest and largest value of each channel, whatever the method.
    `strengths`: of smoothing; None: searched. Raises CheckFailed, naming the tensor, for values or ranges that cannot
    be used.
    """
    spelled = respell(source, target)
    counter = ClassCounter(card)

    def count(outputs: Outputs) -> None:
        counter.update(masks_from_outputs(outputs, card.thresholds))

    seen = observe_channels(spelled, watches_of(spelled), batches(), num_images, count)
    channels = {name: ChannelRecord.of(statistics) for name, statistics in seen.items()}
    statistics = {name: record.statistics() for name, record in channels.items()}  # as they will be read again
    for name, record in statistics.items():
        record.rows, record.halves = seen[name].rows, seen[name].halves
    conditioned = _condition(spelled, target, statistics, strengths, on_count)
    ranges = {name: entry.range for name, entry in conditioned.statistics.items()}
    ranges |= {p.activation: PROBABILITIES for p in conditioned.products if p.kind == "values"}
    if method != "minmax":
        weighted = {p.activation: ranges[p.activation] for p in conditioned.products if p.kind == "weight"}
        histograms = observe_histograms(conditioned.model, weighted, batches())
        ranges |= {name: clip_range(h, method, target.activations) for name, h in histograms.items()}
    used = {name for p in conditioned.products if p.kind != "depthwise" for name in (p.activation, p.right) if name}
    return Found(channels, conditioned.strengths, {n: ranges[n] for n in ranges if n in used}), counter.shares()


def condition(
    source: onnx.ModelProto, target: Int8Target, channels: Mapping[str, ChannelRecord], strengths: Mapping[str, float]
) -> Conditioned:
    """What `calibrate` made of the model, again: without images, without a search."""
    statistics = {name: record.statistics() for name, record in channels.items()}
    return _condition(respell(source, target), target, statistics, strengths)


def respell(source: onnx.ModelProto, target: Int8Target) -> onnx.ModelProto:
    """The layout in which the target's products can be quantized."""
    return (upsampling_channels_last(source) if target.channels_last else None) or source


def _condition(
    spelled: onnx.ModelProto,
    target: Int8Target,
    statistics: Statistics,
    strengths: Mapping[str, float] | None,
    on_count: OnStage = ignore,
) -> Conditioned:
    products = find_products(spelled, ALL_KINDS)
    paths = find_value_paths(spelled, products)
    sites = find_sites(spelled, products, paths)
    centred = centre_values(spelled, paths, statistics)
    centred = centre_norms(centred, {site.norm: site.products for site in sites if site.norm}, statistics)
    smoothed, chosen = smooth(centred, sites, statistics, target.activations, strengths, on_count)
    return Conditioned(smoothed, find_products(smoothed, target.kinds), chosen, statistics)


def watches_of(model: onnx.ModelProto) -> list[Watch]:
    """Every operand that may be quantized, but the probabilities."""
    shapes = infer_shapes(model)
    found: dict[str, Watch] = {}
    for product in find_products(model, ALL_KINDS):
        shape = shapes[product.activation]
        rank = len(shape)
        if product.kind == "values":
            found[product.right] = Watch(product.right, len(shapes[product.right]), (1, 3))
        elif product.kind == "scores":
            found[product.activation] = Watch(product.activation, rank, ())
            found[product.right] = Watch(product.right, len(shapes[product.right]), ())
        elif product.is_convolution:
            found[product.activation] = Watch(product.activation, rank, (1,))
        else:
            tokens = shape[1] if rank == 3 else 0
            found[product.activation] = Watch(product.activation, rank, (rank - 1,), tokens)
    return list(found.values())
