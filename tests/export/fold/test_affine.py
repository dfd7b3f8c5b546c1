"""B4, B5, B7 and BatchNorm: each rewrite against the modules it replaces, in float64."""

from __future__ import annotations

import torch
from torch import nn

from segdino_deploy.export.fold.affine import (
    affine_of,
    fold_batch_norm,
    fold_layer_scale,
    fold_norm,
    plain_norm,
    to_linear,
)
from tests.export.fold.random_models import TOLERANCE, randomised, relative_error


def test_norm_affine_moves_into_the_linear_after_it() -> None:
    norm, linear = randomised(nn.LayerNorm(12)), randomised(nn.Linear(12, 7))
    x = 5 + 3 * torch.randn(2, 9, 12, dtype=torch.float64)

    folded = to_linear(fold_norm(norm, affine_of(linear)), torch.float64)(plain_norm(norm)(x))

    assert relative_error(folded, linear(norm(x))) < TOLERANCE


def test_norm_affine_moves_into_a_projection_without_bias() -> None:
    norm, conv = randomised(nn.LayerNorm(12)), randomised(nn.Conv2d(12, 5, 1, bias=False))
    x = torch.randn(2, 6, 12, dtype=torch.float64)

    folded = to_linear(fold_norm(norm, affine_of(conv)), torch.float64)(plain_norm(norm)(x))

    expected = conv(norm(x).transpose(1, 2).reshape(2, 12, 2, 3)).flatten(2).transpose(1, 2)
    assert relative_error(folded, expected) < TOLERANCE


def test_plain_norm_keeps_the_epsilon() -> None:
    norm = nn.LayerNorm(4, eps=0.5).double()
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0]], dtype=torch.float64)

    # mean 2.5, variance 1.25: (1 - 2.5) / sqrt(1.75)
    assert abs(float(plain_norm(norm)(x)[0, 0]) + 1.5 / 1.75**0.5) < 1e-15


def test_layer_scale_moves_into_the_linear_before_it() -> None:
    linear, gamma = randomised(nn.Linear(6, 10)), torch.randn(10, dtype=torch.float64)
    x = torch.randn(3, 6, dtype=torch.float64)

    folded = to_linear(fold_layer_scale(affine_of(linear), gamma), torch.float64)

    assert relative_error(folded(x), linear(x) * gamma) < TOLERANCE


def test_batch_norm_moves_into_the_pointwise_convolution_before_it() -> None:
    conv, norm = randomised(nn.Conv2d(5, 8, 1, bias=False)), randomised(nn.BatchNorm2d(8, eps=1e-3))
    x = torch.randn(2, 5, 3, 7, dtype=torch.float64)

    assert relative_error(fold_batch_norm(conv, norm)(x), norm(conv(x))) < TOLERANCE


def test_a_bias_of_zeros_is_left_out() -> None:
    linear = nn.Linear(3, 3, bias=False).double()

    assert to_linear(affine_of(linear), torch.float64).bias is None
