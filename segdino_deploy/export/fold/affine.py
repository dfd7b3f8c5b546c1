"""Rewrites of affine maps: constant scales and shifts move into the weights beside them. All computed in float64.

Each is exact in real arithmetic. Weights come back in the dtype of what they replace; nothing given is changed.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Affine(NamedTuple):
    """y = weight x + bias over channels, in float64."""

    weight: Tensor  # [out, in]
    bias: Tensor  # [out]


def affine_of(layer: nn.Linear | nn.Conv2d) -> Affine:
    """The map of a Linear or of a 1x1 convolution."""
    weight = layer.weight.double().flatten(1)  # a 1x1 kernel has [out, in, 1, 1]
    bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.double()
    return Affine(weight, bias)


def to_linear(affine: Affine, dtype: torch.dtype) -> nn.Linear:
    """The same map as a Linear layer, without a bias where it is zero."""
    has_bias = bool(affine.bias.any())
    layer = nn.Linear(affine.weight.shape[1], affine.weight.shape[0], bias=has_bias, dtype=dtype)
    layer.weight = nn.Parameter(affine.weight.to(dtype), requires_grad=False)
    if has_bias:
        layer.bias = nn.Parameter(affine.bias.to(dtype), requires_grad=False)
    return layer


class TokensToChannels(nn.Module):
    """An affine map of tokens `[N, h * w, in]` to `[N, out, h * w]`.

    The weights stand on the left, so that the result has channels first and needs no transpose of its own: backends
    move a wide map between the two orders slowly, the tokens quickly.
    """

    def __init__(self, affine: Affine, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(affine.weight.to(dtype), requires_grad=False)  # [out, in]
        has_bias = bool(affine.bias.any())
        self.bias = nn.Buffer(affine.bias[:, None].to(dtype)) if has_bias else None  # [out, 1]

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.weight @ tokens.transpose(1, 2)
        return x if self.bias is None else x + self.bias


def to_conv(kernel: Tensor, bias: Tensor | None, dtype: torch.dtype, stride: int = 1, padding: int = 0) -> nn.Conv2d:
    """`kernel` `[out, in, kh, kw]` and `bias` `[out]` as a convolution; a bias of zeros is left out."""
    has_bias = bias is not None and bool(bias.any())
    out_channels, in_channels, kh, kw = kernel.shape
    layer = nn.Conv2d(in_channels, out_channels, (kh, kw), stride=stride, padding=padding, bias=has_bias, dtype=dtype)
    layer.weight = nn.Parameter(kernel.to(dtype), requires_grad=False)
    if has_bias:
        assert bias is not None
        layer.bias = nn.Parameter(bias.to(dtype), requires_grad=False)
    return layer


def after(outer: Affine, inner: Affine) -> Affine:
    """outer(inner(x)) as one map."""
    return Affine(outer.weight @ inner.weight, outer.weight @ inner.bias + outer.bias)


def fold_norm(norm: nn.LayerNorm, following: Affine) -> Affine:
    """B4, B7: the norm's affine in the layer that follows. W' = W diag(gamma), b' = b + W beta.

    The norm itself is then `plain_norm`: one LayerNormalization node that every backend recognises.
    """
    return after(following, Affine(norm.weight.double().diag(), norm.bias.double()))


def plain_norm(norm: nn.LayerNorm) -> nn.LayerNorm:
    """The norm with scale 1 and bias 0."""
    plain = nn.LayerNorm(norm.normalized_shape, eps=norm.eps, dtype=norm.weight.dtype)
    return plain.requires_grad_(False)


def fold_layer_scale(preceding: Affine, gamma: Tensor) -> Affine:
    """B5: W' = diag(gamma) W, b' = gamma b."""
    return Affine(gamma.double()[:, None] * preceding.weight, gamma.double() * preceding.bias)


def fold_batch_norm(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """A BatchNorm in evaluation mode inside the pointwise convolution before it.

    s = gamma / sqrt(var + eps): W' = diag(s) W, b' = beta + s (b - mean).
    """
    assert norm.running_mean is not None and norm.running_var is not None
    affine = affine_of(conv)
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    bias = norm.bias.double() + scale * (affine.bias - norm.running_mean.double())
    return to_conv((scale[:, None] * affine.weight)[:, :, None, None], bias, conv.weight.dtype)
