"""Scales and zero points from ranges."""

from __future__ import annotations

import numpy as np
import pytest

from segdino_deploy.engines.precision.int8.scales import (
    Grid,
    activation_round_trip,
    channel_scales,
    scale_and_zero,
)
from segdino_deploy.errors import CheckFailed

GRIDS: tuple[Grid, ...] = ("int8", "uint8", "probability")


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("seen", [(0.0, 0.0), (float("nan"), 1.0), (-1.0, float("inf")), (0.0, float("nan"))])
def test_an_unusable_range_names_its_tensor(seen: tuple[float, float], grid: Grid) -> None:
    with pytest.raises(CheckFailed, match=r"at block3\.norm"):
        scale_and_zero(seen, grid, "block3.norm")


@pytest.mark.parametrize(
    ("seen", "grid", "scale", "zero"),
    [
        ((-2.0, 1.0), "int8", 2 / 127, 0),
        ((-1.0, 4.0), "uint8", 5 / 255, 51),
        ((2.0, 5.1), "uint8", 5.1 / 255, 0),  # zero is always inside
        ((-5.1, -2.0), "uint8", 5.1 / 255, 255),
        ((0.0, 1.0), "probability", 1 / 255, 0),
    ],
)
def test_scale_and_zero_point(seen: tuple[float, float], grid: Grid, scale: float, zero: int) -> None:
    found_scale, found_zero = scale_and_zero(seen, grid, "x")

    assert found_scale == pytest.approx(scale)
    assert found_zero == zero
    assert found_zero.dtype == (np.int8 if grid == "int8" else np.uint8)


@pytest.mark.parametrize("grid", GRIDS)
def test_zero_is_kept_exactly_and_other_values_to_half_a_step(grid: Grid) -> None:
    low = 0.0 if grid == "probability" else -0.37
    x = np.linspace(low, 1, 1001, dtype=np.float32)
    step = float(scale_and_zero((low, 1.0), grid, "x")[0])

    assert activation_round_trip(np.zeros(1, np.float32), (low, 1.0), grid)[0] == 0
    # an end of the asymmetric grid may be rounded away by the zero point: half a step more
    assert np.abs(activation_round_trip(x, (low, 1.0), grid) - x).max() <= step * (1.001 if grid == "uint8" else 0.5001)


def test_values_outside_the_range_are_clipped() -> None:
    x = np.array([-9, 9], np.float32)

    np.testing.assert_allclose(activation_round_trip(x, (-1.0, 2.0), "int8"), [-2, 2], rtol=1e-6)
    np.testing.assert_allclose(activation_round_trip(x, (-1.0, 2.0), "uint8"), [-1, 2], rtol=1e-6)


def test_every_channel_gets_the_scale_and_zero_point_of_its_own_range() -> None:
    low, high = np.array([-2.0, 0.5, 0.0, -3.0]), np.array([1.0, 4.0, 0.0, -1.0])
    scales, zeros = channel_scales(low, high, "x")

    assert zeros.dtype == np.uint8 and scales.dtype == np.float32
    for channel in (0, 1, 3):
        expected = scale_and_zero((low[channel], high[channel]), "uint8", "x")
        assert (scales[channel], zeros[channel]) == expected
    assert (scales[2], zeros[2]) == (1, 0)  # a channel of zeros


@pytest.mark.parametrize(("low", "high"), [([0.0, 0.0], [0.0, 0.0]), ([-1.0, np.nan], [1.0, np.nan])])
def test_channels_without_signal_or_with_nan_name_the_tensor(low: list[float], high: list[float]) -> None:
    with pytest.raises(CheckFailed, match="the_tensor"):
        channel_scales(np.array(low), np.array(high), "the_tensor")
