"""Histograms of activations, and the range to quantize them in: minmax, percentile, entropy or mse."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.errors import CheckFailed, InputError

Kind = Literal["int8", "uint8", "probability"]
METHODS = ("minmax", "percentile", "entropy", "mse")
# Below, a method reads more from the tail of the values than so few images can tell.
MIN_IMAGES: dict[str, int] = {"minmax": 1, "percentile": 8, "entropy": 8, "mse": 4}

STEPS: dict[Kind, int] = {"int8": 254, "uint8": 255, "probability": 255}  # between the ends: -127..127, 0..255
KEPT_SHARE = 0.9999  # of the values, by "percentile"
CLIP_RATIOS = np.linspace(1.0, 0.3, 71)  # of an end, tried by "mse"; the widest first, so that it wins a tie
MSE_TURNS = 8  # two or three are usual
CHUNK = 1 << 16  # values per step of `update`: its temporaries stay in the cache

Float64 = NDArray[np.float64]


def check_image_count(method: str, n: int) -> None:
    """InputError where there is no such method, or where it needs more than `n` images."""
    require_method(method)
    needed = MIN_IMAGES[method]
    if n < needed:
        raise InputError(
            f"calibration method {method} needs at least {needed} images, {n} {'was' if n == 1 else 'were'} given: "
            "add images, or use --calibration-method minmax"
        )


class Histogram:
    """Counts of values in equal bins of a range that an earlier pass has found."""

    def __init__(self, low: float, high: float, bins: int = 2048) -> None:
        """CheckFailed where the ends are not finite or not in order. They may be equal."""
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise CheckFailed(f"calibration: no histogram from {low} to {high}; calibrate with other images")
        self.low, self.high = low, high
        self.counts = np.zeros(bins, np.int64)

    @property
    def edges(self) -> Float64:
        """The ends of the bins, `[bins + 1]`, rising."""
        return np.linspace(self.low, self.high, len(self.counts) + 1)

    def update(self, values: NDArray[np.floating]) -> None:
        """Counts finite values of any shape; those outside the range go into the end bins.

        Bins are found in float32: a value within rounding of an edge may be counted in the bin beside it.
        """
        bins = len(self.counts)
        width = (self.high - self.low) / bins
        flat = np.ravel(values)
        for start in range(0, flat.size, CHUNK):
            position = flat[start : start + CHUNK].astype(np.float32)
            position -= np.float32(self.low)
            position *= np.float32(1 / width if width else 0)
            np.clip(position, 0, bins - 1, out=position)
            self.counts += np.bincount(position.astype(np.intp), minlength=bins)


def clip_range(histogram: Histogram, method: str, kind: Kind) -> tuple[float, float]:
    """The range, 0 included, that `method` quantizes the counted values in.

    `kind`: "int8" is symmetric, -127..127; "uint8" has a zero point, 0..255; "probability" is uint8 from 0 on.
    minmax: the ends. percentile: 99.99 % of the values, for uint8 half of the rest cut on each side, for int8 of |x|.
    entropy, mse: see `_entropy_range` and `_mse_range`. Raises InputError (no such method), CheckFailed (nothing was
    counted).
    """
    require_method(method)
    if not histogram.counts.any():
        raise CheckFailed("calibration: a histogram without values: the fp32 model was not run on the images")
    low, high = _ends(histogram, kind)
    if method == "minmax" or low == high or histogram.low == histogram.high:
        return low, high
    if method == "percentile":
        return _percentile_range(histogram, kind)
    if method == "mse":
        return _mse_range(histogram, low, high, kind)
    return _entropy_range(histogram, low, high)


def require_method(method: str) -> str:
    """The method itself. InputError where there is none of this name."""
    if method not in METHODS:
        raise InputError(f"calibration method {method!r} is not known: choose one of {', '.join(METHODS)}")
    return method


def _ends(histogram: Histogram, kind: Kind) -> tuple[float, float]:
    if kind == "int8":
        largest = max(-histogram.low, histogram.high)
        return -largest, largest
    return 0.0 if kind == "probability" else min(histogram.low, 0.0), max(histogram.high, 0.0)


def _percentile_range(histogram: Histogram, kind: Kind) -> tuple[float, float]:
    """Ends on the outer edges of the bins in which the percentiles lie."""
    if kind == "int8":
        edges, counts = _magnitudes(histogram)
        largest = _upper_edge(edges, counts, KEPT_SHARE)
        return -largest, largest
    edges, counts = histogram.edges, histogram.counts.astype(np.float64)
    if kind == "probability":
        return 0.0, max(_upper_edge(edges, counts, KEPT_SHARE), 0.0)
    share = (1 + KEPT_SHARE) / 2
    low = -_upper_edge(-edges[::-1], counts[::-1], share)
    return min(low, 0.0), max(_upper_edge(edges, counts, share), 0.0)


def _upper_edge(edges: Float64, counts: Float64, share: float) -> float:
    """Upper edge of the first bin up to whose end at least `share` of the values lie."""
    below = np.cumsum(counts)
    return float(edges[1 + np.searchsorted(below, share * below[-1])])


def _magnitudes(histogram: Histogram) -> tuple[Float64, Float64]:
    """Edges `[bins + 1]` and counts `[bins]` of |x|; the values of a bin are taken as evenly spread over it."""
    bins = len(histogram.counts)
    edges = np.linspace(0, max(-histogram.low, histogram.high), bins + 1)
    below = np.concatenate([[0], np.cumsum(histogram.counts)])  # [bins + 1]
    positive = np.diff(np.interp(edges, histogram.edges, below))
    negative = -np.diff(np.interp(-edges, histogram.edges, below))
    return edges, positive + negative


def _mse_range(histogram: Histogram, low: float, high: float, kind: Kind) -> tuple[float, float]:
    """The range within `low`..`high` with the least mean squared error of quantization.

    A bin's values are taken to lie at its centre. The symmetric range shrinks as a whole; of the other ones each end
    in turn, until neither gets better.
    """
    filled = np.flatnonzero(histogram.counts)
    values = (histogram.edges[filled] + histogram.edges[filled + 1]) / 2
    weights = histogram.counts[filled].astype(np.float64)

    def best(lows: Float64, highs: Float64) -> int:
        return int(np.argmin(_squared_error(values, weights, lows, highs, STEPS[kind])))

    ones = np.ones_like(CLIP_RATIOS)
    if kind == "int8":
        ratio = CLIP_RATIOS[best(low * CLIP_RATIOS, high * CLIP_RATIOS)]
        return float(low * ratio), float(high * ratio)
    chosen = low, high
    for _ in range(MSE_TURNS):
        clipped_high = float(high * CLIP_RATIOS[best(chosen[0] * ones, high * CLIP_RATIOS)])
        clipped_low = float(low * CLIP_RATIOS[best(low * CLIP_RATIOS, clipped_high * ones)])
        if chosen == (clipped_low, clipped_high):
            break
        chosen = clipped_low, clipped_high
    return chosen


def _squared_error(values: Float64, weights: Float64, lows: Float64, highs: Float64, steps: int) -> Float64:
    """Sum of weighted squared errors `[C]` of `values` (`[V]`) quantized in each range `lows[c]`..`highs[c]`."""
    scale = ((highs - lows) / steps)[:, None]  # [C, 1]
    zero = np.rint(-lows[:, None] / scale)
    quantized = np.clip(np.rint(values / scale) + zero, 0, steps)  # [C, V]
    return np.asarray(((quantized - zero) * scale - values) ** 2 @ weights)


def _entropy_range(histogram: Histogram, low: float, high: float) -> tuple[float, float]:
    """`low`..`high` cut at the |x| whose quantized distribution diverges least from the whole one (Kullback-Leibler).

    S. Migacz, "8-bit Inference with TensorRT", GTC 2017 (S7310); for ranges that are not symmetric as in ONNX Runtime
    (`HistogramCollector.get_entropy_threshold`): one threshold for both sides, then cut to the ends that were seen.
    For each number of bins kept, P is the histogram of |x| whose last bin also takes what was cut off, and Q the kept
    bins merged into as many levels as the kind has for |x|, each level spread evenly over those of its bins that P
    fills. Unlike there, bins are dealt to levels evenly where their numbers do not divide, and a Q that is 0 where P
    is not is refused instead of smoothed. All sums run over levels only, because Q is constant within each.
    """
    edges, counts = _magnitudes(histogram)
    levels = min(256, round(256 * edges[-1] / (high - low)))  # 128 where both sides are as long, 256 where there is one
    kept = np.arange(min(levels, len(counts)), len(counts) + 1)  # [K], bins

    def before(per_bin: Float64) -> Float64:
        return np.concatenate([[0], np.cumsum(per_bin)])  # [bins + 1]

    starts = -(-np.arange(levels + 1) * kept[:, None] // levels)  # [K, levels + 1], first bin of each level
    total = before(counts)[-1]
    cut = total - before(counts)[kept]
    last = counts[kept - 1]
    mass = np.diff(before(counts)[starts])  # [K, levels]
    filled = np.diff(before((counts > 0).astype(np.float64))[starts])
    filled[:, -1] += (last == 0) & (cut > 0)
    p_mass = mass.copy()
    p_mass[:, -1] += cut

    p_log_p = before(_x_log_x(counts))[kept - 1] + _x_log_x(last + cut)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_q = np.log(mass / filled)
        p_log_q = np.where(p_mass > 0, p_mass * log_q, 0).sum(axis=1)
        divergence = (p_log_p - p_log_q) / total + np.log((total - cut) / total)
    divergence[~np.isfinite(divergence)] = np.inf
    threshold = float(edges[kept[np.argmin(divergence)]])
    return max(low, -threshold), min(high, threshold)


def _x_log_x(x: Float64) -> Float64:
    return np.asarray(x * np.log(np.where(x > 0, x, 1)))
