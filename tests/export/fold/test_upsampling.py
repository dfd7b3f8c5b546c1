"""T1 and T2 in float64, borders included."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdino_deploy.export.fold.affine import affine_of
from segdino_deploy.export.fold.upsampling import (
    UpsampledConvFromTokens,
    shifted_interpolation,
)
from tests.export.fold.random_models import TOLERANCE, randomised, relative_error


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(("scale", "grid"), [(2, (3, 5)), (4, (2, 7)), (8, (5, 1)), (8, (1, 1))])
@pytest.mark.parametrize(("dim", "channels"), [(6, 4), (4, 12)])  # T2: kept apart, merged
def test_convolution_after_upsampling_from_tokens(
    align_corners: bool, scale: int, grid: tuple[int, int], dim: int, channels: int
) -> None:
    projection = randomised(nn.Conv2d(dim, channels, 1))
    conv = randomised(nn.Conv2d(channels, channels, 3, padding=1, bias=False), seed=1)
    tokens = torch.randn(2, grid[0] * grid[1], dim, dtype=torch.float64)

    folded = UpsampledConvFromTokens(affine_of(projection), conv, grid, scale, align_corners)

    assert (folded.projection is None) == (dim < channels)
    expected = conv(_upsample(projection(_to_map(tokens, grid)), scale, align_corners))
    assert relative_error(folded(tokens), expected) < TOLERANCE


def _to_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    return tokens.transpose(1, 2).reshape(len(tokens), -1, *grid)


def _upsample(x: Tensor, scale: int, align_corners: bool) -> Tensor:
    size = (scale * x.shape[2], scale * x.shape[3])
    return F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


def test_matrices_hold_multiples_of_one_over_twice_the_scale() -> None:
    for scale in (2, 4, 8):  # so fp16 and bf16 hold them exactly
        matrix = shifted_interpolation(7, 7 * scale, align_corners=False) * 2 * scale
        assert torch.equal(matrix, matrix.round())


def test_taps_outside_the_map_read_nothing() -> None:
    matrix = shifted_interpolation(2, 4, align_corners=False)  # [4, above | here | below]

    assert matrix[0, :2].tolist() == [0, 0]
    assert matrix[3, 4:].tolist() == [0, 0]
    assert matrix[1, :2].tolist() == [1, 0]
