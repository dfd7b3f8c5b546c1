"""Clipping from histograms; the oracles look at the raw values, at ONNX Runtime's calibrator and at scipy's entropy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray
from onnxruntime.quantization.calibrate import HistogramCollector

from segdino_deploy.engines.calibration.histogram import METHODS, Histogram, Kind, check_image_count, clip_range
from segdino_deploy.errors import CheckFailed, InputError

KINDS: tuple[Kind, ...] = ("int8", "uint8", "probability")
Values = NDArray[np.float32]
Make = Callable[[], Values]


def gelu(seed: int = 0, count: int = 60_000) -> Values:
    """Like an MLP's activations: a hard end just below 0, a tail above."""
    x = np.random.default_rng(seed).normal(0, 2, count)
    return (x * scipy.stats.norm.cdf(x)).astype(np.float32)


def tails(seed: int = 0, count: int = 60_000) -> Values:
    """Two-sided, heavy tails, not centred."""
    return (np.random.default_rng(seed).standard_t(4, count) + 0.5).astype(np.float32)


def attention(seed: int = 0) -> Values:
    """Softmax over 16 keys."""
    logits = np.exp(np.random.default_rng(seed).normal(0, 2, (4_000, 16)))
    return (logits / logits.sum(axis=1, keepdims=True)).astype(np.float32)


def histogram_of(values: Values, bins: int = 2048) -> Histogram:
    histogram = Histogram(float(values.min()), float(values.max()), bins)
    for part in np.array_split(values, 3):
        histogram.update(part)
    return histogram


def quantization_error(values: Values, low: float, high: float, kind: Kind) -> float:
    """Mean squared error of QuantizeLinear and DequantizeLinear, by their definition."""
    if kind == "int8":
        scale = max(-low, high) / 127
        restored = np.clip(np.rint(values / scale), -127, 127) * scale
    else:
        scale = (high - low) / 255
        zero_point = np.rint(-low / scale)
        restored = (np.clip(np.rint(values / scale) + zero_point, 0, 255) - zero_point) * scale
    return float(np.square(restored.astype(np.float64) - values).mean())


def test_parts_of_any_shape_are_counted_as_numpy_counts_the_whole() -> None:
    values = np.random.default_rng(0).integers(-500, 500, (3, 200, 300)).astype(np.float32) + 0.5  # none on an edge
    histogram = Histogram(-500, 500, bins=100)
    for part in values:
        histogram.update(part)

    counts, edges = np.histogram(values, bins=100, range=(-500, 500))
    np.testing.assert_array_equal(histogram.counts, counts)
    np.testing.assert_allclose(histogram.edges, edges)


def test_values_outside_the_range_go_into_the_end_bins() -> None:
    histogram = Histogram(0, 4, bins=4)
    histogram.update(np.array([-1e30, -1, 0, 1.5, 4, 5, 1e30], np.float32))

    assert histogram.counts.tolist() == [3, 1, 0, 3]


@pytest.mark.parametrize(("low", "high"), [(0, np.nan), (-np.inf, 0), (1, 0)])
def test_ends_that_make_no_range_are_refused(low: float, high: float) -> None:
    with pytest.raises(CheckFailed, match="calibrate with other images"):
        Histogram(low, high)


def test_a_histogram_without_values_is_refused() -> None:
    with pytest.raises(CheckFailed, match="without values"):
        clip_range(Histogram(0, 1), "minmax", "int8")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [gelu, tails, attention])
def test_a_range_holds_zero_lies_within_the_ends_and_fits_its_kind(method: str, kind: Kind, make: Make) -> None:
    values = make()
    low, high = clip_range(histogram_of(values), method, kind)
    largest = float(np.abs(values).max())

    assert -largest <= low <= 0 < high <= largest
    if kind == "int8":
        assert low == -high
    if kind == "probability":
        assert low == 0


@pytest.mark.parametrize("method", METHODS)
def test_a_range_away_from_zero_and_a_constant_are_no_trouble(method: str) -> None:
    away = np.random.default_rng(0).uniform(4, 5, 5_000).astype(np.float32)
    low, high = clip_range(histogram_of(away), method, "uint8")
    assert low == 0 and 4 < high <= away.max()

    constant = np.full(10, -3, np.float32)
    assert clip_range(histogram_of(constant), method, "int8") == (-3, 3)
    assert clip_range(histogram_of(constant), method, "uint8") == (-3, 0)
    assert clip_range(histogram_of(0 * constant), method, "uint8") == (0, 0)
    assert clip_range(histogram_of(-away), method, "probability") == (0, 0)


def test_minmax_gives_the_ends() -> None:
    values = gelu()
    low, high = float(values.min()), float(values.max())

    assert clip_range(histogram_of(values), "minmax", "uint8") == (low, high)
    assert clip_range(histogram_of(values), "minmax", "int8") == (-high, high)
    assert clip_range(histogram_of(values), "minmax", "probability") == (0, high)


@pytest.mark.parametrize("make", [gelu, tails])
def test_percentiles_are_those_of_the_values_to_a_bin(make: Make) -> None:
    values = make()
    histogram = histogram_of(values)
    bin_width = histogram.edges[1] - histogram.edges[0]

    def nearest(of: Values, percent: float) -> float:
        return float(np.percentile(of, percent, method="inverted_cdf"))

    assert clip_range(histogram, "percentile", "uint8") == pytest.approx(
        (-nearest(-values, 99.995), nearest(values, 99.995)), abs=1.01 * bin_width
    )
    assert clip_range(histogram, "percentile", "int8")[1] == pytest.approx(
        nearest(np.abs(values), 99.99), abs=2 * bin_width
    )
    assert clip_range(histogram, "percentile", "probability")[1] == pytest.approx(
        nearest(values, 99.99), abs=1.01 * bin_width
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [gelu, tails, attention])
def test_mse_clips_as_well_as_a_brute_force_search_over_the_values(kind: Kind, make: Make) -> None:
    values = make()
    if kind == "probability":
        values = np.maximum(values, 0)
    found = quantization_error(values, *clip_range(histogram_of(values), "mse", kind), kind)

    largest, ratios = float(np.abs(values).max()), np.linspace(0.25, 1, 31)
    if kind == "int8":
        tried = [(-largest * r, largest * r) for r in ratios]
    else:
        low, high = min(float(values.min()), 0), float(values.max())
        tried = [(low * a, high * b) for a in (ratios[::3] if low else [0]) for b in ratios]
    assert found <= 1.01 * min(quantization_error(values, *ends, kind) for ends in tried)


def test_mse_gains_over_minmax_where_tails_are_heavy() -> None:
    values = tails()
    histogram = histogram_of(values)
    errors = {m: quantization_error(values, *clip_range(histogram, m, "int8"), "int8") for m in ("minmax", "mse")}

    assert errors["mse"] < 0.9 * errors["minmax"]


def test_entropy_is_the_least_divergence_of_all_thresholds() -> None:
    """Every candidate built bin by bin as in the GTC 2017 talk; scipy computes the divergence."""
    values = np.random.default_rng(1).exponential(1, 20_000).astype(np.float32)
    histogram = histogram_of(values - values.min(), bins=700)
    counts, levels = histogram.counts, 256

    divergences = {}
    for kept in range(levels, len(counts) + 1):
        p = counts[:kept].astype(float)
        p[-1] += counts[kept:].sum()
        level_of_bin = [bin * levels // kept for bin in range(kept)]
        mass, filled = np.zeros(levels), np.zeros(levels)
        np.add.at(mass, level_of_bin, counts[:kept])
        np.add.at(filled, level_of_bin, p > 0)
        q = np.where(p > 0, (mass / np.maximum(filled, 1))[level_of_bin], 0)
        divergences[kept] = scipy.stats.entropy(p, q)
    best = min(divergences, key=divergences.__getitem__)

    assert levels < best < len(counts)
    assert clip_range(histogram, "entropy", "probability") == (0, pytest.approx(histogram.edges[best]))


@pytest.mark.parametrize("distribution", ["normal", "laplace", "logistic"])
def test_entropy_comes_near_onnxruntimes_threshold(distribution: str) -> None:
    """Not equal: ONNX Runtime rounds Q to integers and gives the bins that do not divide to the last level."""
    values = getattr(np.random.default_rng(0), distribution)(size=100_000).astype(np.float32)
    largest = float(np.abs(values).max())
    # 128 levels of |x| are 256 of ONNX Runtime's, whose histogram has both signs.
    collector = HistogramCollector("entropy", True, 1024, 256, 99.99, "same")
    collector.collect({"x": [values]})
    expected = float(collector.compute_entropy()["x"][1])

    histogram = Histogram(-largest, largest, bins=1024)
    histogram.update(values)
    assert clip_range(histogram, "entropy", "int8")[1] == pytest.approx(expected, rel=0.15)


def test_entropy_cuts_lone_outliers_away() -> None:
    values = np.concatenate([np.random.default_rng(0).normal(0, 1, 100_000), [60.0]]).astype(np.float32)

    assert clip_range(histogram_of(values), "entropy", "int8")[1] < 10


def test_a_method_that_needs_more_images_says_so() -> None:
    with pytest.raises(InputError) as caught:
        check_image_count("entropy", 3)
    assert str(caught.value) == (
        "calibration method entropy needs at least 8 images, 3 were given: "
        "add images, or use --calibration-method minmax"
    )
    for method in METHODS:
        check_image_count(method, 8)
    check_image_count("minmax", 1)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(InputError, match="'kl' is not known: choose one of minmax, percentile, entropy, mse"):
        check_image_count("kl", 99)
    with pytest.raises(InputError, match="not known"):
        clip_range(histogram_of(gelu(count=100)), "kl", "int8")
