"""T5: transposed convolutions whose stride is their kernel. They place one s x s block per position: a Linear map and a
pixel shuffle, which no backend computes slower and for which every precision has kernels.
"""

from __future__ import annotations

import torch
from torch import nn

from segdino_deploy.export.fold.affine import Affine, after


def transposed_as_affine(transposed: nn.ConvTranspose2d) -> Affine:
    """`[F * s * s, in]`, in pixel_shuffle's order: y[f, s i + a, s j + b] = sum_m x[m, i, j] T[m, f, a, b] + b[f]."""
    weight = transposed.weight.double()  # [in, F, s, s]
    s = transposed.kernel_size[0]
    bias = weight.new_zeros(weight.shape[1]) if transposed.bias is None else transposed.bias.double()
    return Affine(weight.permute(1, 2, 3, 0).flatten(0, 2), bias.repeat_interleave(s * s))


def transposed_after(transposed: nn.ConvTranspose2d, projection: Affine) -> Affine:
    """The 1x1 projection before a transposed convolution inside it."""
    return after(transposed_as_affine(transposed), projection)


def conv_of_blocks(conv: nn.Conv2d, transposed: nn.ConvTranspose2d) -> torch.Tensor:
    """conv3x3(pad(transposed(x))) without the transposed bias, as one 2x2 convolution: `[F * s * s, in, 2, 2]`.

    Blocks are taken around the corners of the coarse grid: block (I, J), I in 0..h, J in 0..w, holds output rows
    s I - s/2 ... s I + s/2 - 1. The rows that a 3x3 reads there belong to the coarse rows I - 1 and I only, so a 2x2
    kernel over the zero-padded coarse map gives the block: 4 coarse positions instead of 9 fine ones. Cropping s/2 on
    each side after pixel_shuffle restores the map. Needs an even s.
    """
    w = conv.weight.double()  # [F, mid, 3, 3]
    t = transposed.weight.double()  # [in, mid, s, s]
    s = transposed.kernel_size[0]
    kernel = w.new_zeros(w.shape[0], s, s, t.shape[0], 2, 2)
    for a in range(s):
        for b in range(s):
            for dy in range(3):
                for dx in range(3):
                    row, column = a + dy - 1 - s // 2, b + dx - 1 - s // 2  # fine, relative to the corner
                    weight = w[:, :, dy, dx] @ t[:, :, row % s, column % s].T  # [F, in]
                    kernel[:, a, b, :, 1 + row // s, 1 + column // s] += weight
    return kernel.flatten(0, 2)
