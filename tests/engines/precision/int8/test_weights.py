"""Rounding of weights; the oracles are ONNX Runtime's quantizer and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto
from onnxruntime.quantization import quant_utils

from segdino_deploy.engines.precision.int8.weights import (
    bias_correction,
    dequantize_weight,
    quantize_weight,
)


def heavy_tailed(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_t(3, shape).astype(np.float32)


def test_rounding_agrees_with_onnx_runtimes() -> None:
    weight = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    values, scale = quantize_weight(weight, axis=1)

    for channel in range(5):
        _, expected_scale, expected = quant_utils.quantize_data(weight[:, channel], TensorProto.INT8, symmetric=True)
        np.testing.assert_allclose(scale[channel], expected_scale, rtol=1e-6)
        np.testing.assert_array_equal(values[:, channel], expected)


def test_a_channel_of_zeros_keeps_a_usable_scale() -> None:
    values, scale = quantize_weight(np.array([[0.0, 2.0], [0.0, -4.0]], np.float32), axis=1)

    assert scale.tolist() == [1.0, pytest.approx(4 / 127)]
    assert values.tolist() == [[0, 64], [0, -127]]  # 2 / (4 / 127) = 63.5, to even


def test_kernels_are_rounded_per_output_channel() -> None:
    weight = heavy_tailed(4, 3, 3, 3)
    values, scale = quantize_weight(weight, axis=0, energy=np.array([1.0, 4.0, 0.1]))

    assert values.shape == weight.shape and scale.shape == (4,)
    single, single_scale = quantize_weight(weight[2:3], axis=0, energy=np.array([1.0, 4.0, 0.1]))
    np.testing.assert_array_equal(values[2:3], single)
    np.testing.assert_array_equal(scale[2:3], single_scale)


def expected_error(weight: np.ndarray, largest: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """sum_i energy_i (w_i - q(w_i))^2 of each column of `[in, out]`, clipped at `largest`, written out."""
    errors = np.zeros(weight.shape[1])
    for column in range(weight.shape[1]):
        step = largest[column] / 127
        for row in range(weight.shape[0]):
            rounded = min(127, max(-127, round(float(weight[row, column]) / step))) * step
            errors[column] += energy[row] * (weight[row, column] - rounded) ** 2
    return errors


def test_clipping_never_loses_to_the_whole_range_and_finds_the_best_of_a_fine_search() -> None:
    weight, energy = heavy_tailed(40, 6), np.random.default_rng(1).uniform(0.01, 3, 40)
    largest = np.abs(weight).max(axis=0)
    _, scale = quantize_weight(weight, axis=1, energy=energy)

    found = expected_error(weight, scale * 127, energy)

    assert (found <= expected_error(weight, largest, energy) * 1.0001).all()
    tried = [expected_error(weight, largest * ratio, energy) for ratio in np.linspace(0.6, 1, 17)]
    np.testing.assert_allclose(found, np.min(tried, axis=0), rtol=1e-4)
    assert (scale * 127 < 0.99 * largest).any()


def test_weights_of_silent_channels_are_the_ones_that_are_clipped() -> None:
    weight = np.linspace(-1, 1, 41, dtype=np.float32)[:, None].copy()
    weight[0] = 1.6
    energy = np.ones(41)
    energy[0] = 0.0

    values, scale = quantize_weight(weight, axis=1, energy=energy)

    assert scale[0] * 127 < 1.1
    assert values[0, 0] == 127


def test_bias_correction_takes_the_mean_error_out_of_a_product() -> None:
    rng = np.random.default_rng(2)
    weight = rng.normal(size=(24, 7)).astype(np.float32)
    x = rng.normal(rng.normal(0, 3, 24), 1, (500, 24))
    rounded = dequantize_weight(*quantize_weight(weight, axis=1), axis=1)

    correction = bias_correction(weight, rounded, 1, x.mean(axis=0))

    error = (x @ weight.astype(np.float64) - x @ rounded.astype(np.float64)).mean(axis=0)
    assert np.abs(error).max() > 1e-3
    np.testing.assert_allclose(correction, error, atol=1e-9)


def test_bias_correction_of_a_kernel_takes_every_tap_at_the_mean() -> None:
    weight = heavy_tailed(4, 3, 2, 2)
    rounded = dequantize_weight(*quantize_weight(weight, axis=0), axis=0)
    mean = np.array([1.0, -2.0, 0.5])

    expected = [sum(mean[c] * (weight - rounded)[k, c].sum() for c in range(3)) for k in range(4)]
    np.testing.assert_allclose(bias_correction(weight, rounded, 0, mean), expected, rtol=1e-5)


def test_of_a_depthwise_kernel_each_channel_is_corrected_by_its_own_mean() -> None:
    weight, mean = heavy_tailed(5, 1, 3, 3), np.array([1.0, -2.0, 0.0, 3.0, 0.5])
    values, scale = quantize_weight(weight, axis=0, energy=np.ones(5))
    rounded = dequantize_weight(values, scale, axis=0)

    found = bias_correction(weight, rounded, 0, mean)

    for channel in range(5):
        assert found[channel] == pytest.approx((weight[channel] - rounded[channel]).sum() * mean[channel], abs=1e-6)
    # clipping sees no other channel's energy
    loud = np.array([1.0, 1e6, 1.0, 1.0, 1.0])
    np.testing.assert_array_equal(quantize_weight(weight, 0, loud)[0], values)
