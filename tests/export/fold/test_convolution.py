"""H1 to H4 in float64, borders included."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segdino_deploy.export.fold.affine import affine_of
from segdino_deploy.export.fold.convolution import (
    border_map,
    compose_with_projection,
    compose_with_transposed,
    merges,
    mix_classes,
    stack_inputs,
)
from tests.export.fold.random_models import TOLERANCE, randomised, relative_error

X = torch.randn(2, 6, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(("stride", "grid"), [(1, (3, 5)), (2, (3, 5)), (2, (4, 2)), (1, (1, 1))])
def test_projection_inside_a_padded_3x3(stride: int, grid: tuple[int, int]) -> None:
    x = torch.randn(2, 6, *grid, dtype=torch.float64)
    projection = randomised(nn.Conv2d(6, 4, 1))
    conv = randomised(nn.Conv2d(4, 7, 3, padding=1, stride=stride, bias=False), seed=1)

    composed = compose_with_projection(conv, affine_of(projection))
    found = F.conv2d(x, composed.kernel, padding=1, stride=stride) + border_map(composed.tap_bias, *grid, stride)

    assert relative_error(found, conv(projection(x))) < TOLERANCE


def test_border_map_counts_the_taps_that_see_the_map() -> None:
    # nine taps of one each: 4 of them are inside at a corner, 6 at an edge, 9 in the middle
    assert border_map(torch.ones(1, 3, 3), 3, 4)[0, 0].tolist() == [[4, 6, 6, 4], [6, 9, 9, 6], [4, 6, 6, 4]]


@pytest.mark.parametrize("align_corners", [True, False])
def test_classes_mix_before_the_resize(align_corners: bool) -> None:
    conv = randomised(nn.Conv2d(6, 8, 3, padding=1, bias=False))
    output = randomised(nn.Conv2d(8, 2, 1), seed=1)

    identity = compose_with_projection(conv, affine_of(_identity(6)))
    composed = mix_classes(affine_of(output).weight, identity)
    low = F.conv2d(X, composed.kernel, padding=1) + output.bias[:, None, None]  # type: ignore[index]
    found = F.interpolate(low, size=(7, 20), mode="bilinear", align_corners=align_corners)

    expected = output(F.interpolate(conv(X), size=(7, 20), mode="bilinear", align_corners=align_corners))
    assert relative_error(found, expected) < TOLERANCE


def _identity(channels: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels, channels, 1, bias=False).double().requires_grad_(False)
    layer.weight.copy_(torch.eye(channels, dtype=torch.float64)[:, :, None, None])
    return layer


@pytest.mark.parametrize("block", [2, 4])
def test_transposed_convolution_becomes_a_pixel_shuffle(block: int) -> None:
    projection = randomised(nn.Conv2d(6, 4, 1))
    conv = randomised(nn.Conv2d(4, 5, 3, padding=1, bias=False), seed=1)
    transposed = randomised(nn.ConvTranspose2d(5, 3, block, stride=block, bias=False), seed=2)

    composed = compose_with_transposed(transposed.weight, compose_with_projection(conv, affine_of(projection)))
    low = F.conv2d(X, composed.kernel, padding=1) + border_map(composed.tap_bias, 3, 5)

    assert relative_error(F.pixel_shuffle(low, block), transposed(conv(projection(X)))) < TOLERANCE


def test_levels_of_one_resolution_add_up_to_one_convolution() -> None:
    other = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    convs = [randomised(nn.Conv2d(n, 3, 3, padding=1, bias=False), seed=n) for n in (6, 4)]
    projections = [randomised(nn.Conv2d(n, n, 1), seed=n + 10) for n in (6, 4)]

    stacked = stack_inputs([compose_with_projection(c, affine_of(p)) for c, p in zip(convs, projections, strict=True)])
    found = F.conv2d(torch.cat([X, other], dim=1), stacked.kernel, padding=1) + border_map(stacked.tap_bias, 3, 5)

    expected = convs[0](projections[0](X)) + convs[1](projections[1](other))
    assert relative_error(found, expected) < TOLERANCE


def test_composing_is_chosen_by_multiply_adds() -> None:
    # 384 -> 256 -> 256: 384 * 256 + 9 * 256 * 256 < 9 * 384 * 256; 384 -> 512 -> 512 the other way round
    assert not merges(affine_of(nn.Conv2d(384, 256, 1)), nn.Conv2d(256, 256, 3))
    assert merges(affine_of(nn.Conv2d(384, 512, 1)), nn.Conv2d(512, 512, 3))
