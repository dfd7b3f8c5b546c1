"""T5, transposed convolutions, in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segdino_deploy.export.fold.affine import affine_of
from segdino_deploy.export.fold.transposed import conv_of_blocks, transposed_after
from tests.export.fold.random_models import TOLERANCE, randomised, relative_error


@pytest.mark.parametrize("bias", [True, False])
def test_transposed_convolution_after_a_projection_is_one_linear_map(bias: bool) -> None:
    projection = randomised(nn.Conv2d(6, 4, 1))
    transposed = randomised(nn.ConvTranspose2d(4, 3, 4, stride=4, bias=bias), seed=1)
    x = torch.randn(2, 6, 2, 5, dtype=torch.float64)

    affine = transposed_after(transposed, affine_of(projection))
    found = F.pixel_shuffle(F.conv2d(x, affine.weight[:, :, None, None], affine.bias), 4)

    assert relative_error(found, transposed(projection(x))) < TOLERANCE


@pytest.mark.parametrize("block", [2, 4, 6])
def test_3x3_after_a_transposed_convolution_is_one_2x2_around_the_corners(block: int) -> None:
    transposed = randomised(nn.ConvTranspose2d(5, 4, block, stride=block, bias=False))
    conv = randomised(nn.Conv2d(4, 3, 3, padding=1, bias=False), seed=1)
    x = torch.randn(2, 5, 3, 2, dtype=torch.float64)

    blocks = F.conv2d(x, conv_of_blocks(conv, transposed), padding=1)
    half = block // 2
    found = F.pixel_shuffle(blocks, block)[..., half:-half, half:-half]

    assert relative_error(found, conv(transposed(x))) < TOLERANCE
