"""Rewrites of chains of convolutions without a nonlinearity between them. All computed in float64.

A constant that enters before a zero padding is no constant after it: at the border fewer taps see it. It is kept per
tap (`tap_bias`) until the padding is done, then becomes a map (`border_map`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdino_deploy.export.fold.affine import Affine


class PaddedConv(NamedTuple):
    """A 3x3 convolution of zero-padded input plus what each tap adds where it is inside the map. Float64."""

    kernel: Tensor  # [out, in, 3, 3]
    tap_bias: Tensor  # [out, 3, 3]


def compose_with_projection(conv: nn.Conv2d, projection: Affine) -> PaddedConv:
    """H1, T3: conv3x3(pad(P x + c)) as one 3x3 convolution of x: K_t = W_t P, and W_t c per tap."""
    weight = conv.weight.double()  # [out, mid, 3, 3]
    kernel = torch.einsum("omyx,mi->oiyx", weight, projection.weight)
    return PaddedConv(kernel, torch.einsum("omyx,m->oyx", weight, projection.bias))


def mix_classes(output: Tensor, conv: PaddedConv) -> PaddedConv:
    """H2: a 1x1 convolution (`output` `[C, out]`) after `conv`, and whatever resizing lies between, inside it."""
    return PaddedConv(
        torch.einsum("co,oiyx->ciyx", output, conv.kernel), torch.einsum("co,oyx->cyx", output, conv.tap_bias)
    )


def compose_with_transposed(transposed: Tensor, conv: PaddedConv) -> PaddedConv:
    """H3: a transposed convolution with stride = kernel = s after `conv`: out channels `[F * s * s]` for pixel_shuffle.

    `transposed`: its weight T, float64 `[out, F, s, s]`: y[f, s i + a, s j + b] = sum_o z[o, i, j] T[o, f, a, b].
    """
    kernel = torch.einsum("ofab,oiyx->fabiyx", transposed, conv.kernel).flatten(0, 2)
    return PaddedConv(kernel, torch.einsum("ofab,oyx->fabyx", transposed, conv.tap_bias).flatten(0, 2))


def stack_inputs(convs: list[PaddedConv]) -> PaddedConv:
    """H4: the sum of several convolutions as one of their concatenated inputs."""
    kernel = torch.cat([conv.kernel for conv in convs], dim=1)
    return PaddedConv(kernel, torch.stack([conv.tap_bias for conv in convs]).sum(dim=0))


def border_map(tap_bias: Tensor, height: int, width: int, stride: int = 1) -> Tensor:
    """What the taps' constants add up to at every position: `[1, out, h, w]`, by convolving a padded map of ones."""
    ones = torch.ones(1, 1, height, width, dtype=tap_bias.dtype)
    return F.conv2d(ones, tap_bias[:, None], padding=1, stride=stride)


def merges(projection: Affine, conv: nn.Conv2d) -> bool:
    """Whether `compose_with_projection` takes no more multiply-adds than projecting every position, then convolving."""
    mid, in_channels = projection.weight.shape
    stride = conv.stride[0]
    apart = stride * stride * in_channels * mid + 9 * mid * conv.out_channels  # per output position
    return 9 * in_channels * conv.out_channels <= apart
