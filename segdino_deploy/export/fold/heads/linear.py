"""`v1_paper` and `v1_convt`, heads without a nonlinearity: one or two small convolutions in all (H1 to H4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdino_deploy.export.fold.affine import affine_of, to_conv
from segdino_deploy.export.fold.convolution import (
    PaddedConv,
    border_map,
    compose_with_projection,
    compose_with_transposed,
    mix_classes,
    stack_inputs,
)
from segdino_deploy.export.fold.heads.base import BorderedConv, FoldedHead, fold_projections
from segdino_deploy.model.heads.base import tokens_to_map
from segdino_deploy.model.heads.linear import LinearHead


class FoldedLinearHead(FoldedHead):
    """`v1_paper`: one 3x3 convolution 4 D -> C. `v1_convt`: one D -> 16 C with pixel shuffle, and one 3 D -> C."""

    final_align_corners = True

    def __init__(self, head: LinearHead, final_norm: nn.LayerNorm, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        self.rewrites = ("H1",) * 4 + ("H2", "H4") + (() if head.proj is None else ("H3",))
        dtype = head.scratch.output_conv.weight.dtype
        output = affine_of(head.scratch.output_conv)  # [C, 4 F]
        slices = output.weight.chunk(4, dim=1)  # [C, F] of each level
        levels = []
        for i, projection in enumerate(fold_projections(final_norm, head.projects)):
            conv = compose_with_projection(getattr(head.scratch, f"layer{i + 1}_rn"), projection)
            if i == 0 and head.proj is not None:
                conv = compose_with_transposed(mix_transposed(slices[0], head.proj), conv)
            else:
                conv = mix_classes(slices[i], conv)
            levels.append(conv)
        same_grid = levels if head.proj is None else levels[1:]
        self.same_grid = _bordered(stack_inputs(same_grid), grid, dtype, output.bias)
        self.finer: BorderedConv | None = None
        self.block = 1
        if head.proj is not None:
            self.block = head.proj.kernel_size[0]
            self.finer = _bordered(levels[0], grid, dtype)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        h, w = self.grid
        if self.finer is None:
            return self.same_grid(tokens_to_map(torch.cat(list(features), dim=2), h, w))  # type: ignore[no-any-return]
        logits = F.pixel_shuffle(self.finer(tokens_to_map(features[0], h, w)), self.block)  # [N, C, 4h, 4w]
        coarse = self.same_grid(tokens_to_map(torch.cat(list(features[1:]), dim=2), h, w))  # [N, C, h, w]
        size = (self.block * h, self.block * w)
        return logits + F.interpolate(coarse, size=size, mode="bilinear", align_corners=True)


def mix_transposed(output: Tensor, transposed: nn.ConvTranspose2d) -> Tensor:
    """H2 for level 1: the 1x1 to classes (`[C, F]`) inside the transposed convolution's weight: `[in, C, s, s]`."""
    return torch.einsum("cf,ifab->icab", output, transposed.weight.double())


def _bordered(conv: PaddedConv, grid: tuple[int, int], dtype: torch.dtype, bias: Tensor | None = None) -> BorderedConv:
    bias_map = border_map(conv.tap_bias, *grid)
    if bias is not None:  # of the output layer: constant, so it may be added before any resizing
        bias_map = bias_map + bias[None, :, None, None]
    return BorderedConv(to_conv(conv.kernel, None, dtype, padding=1), bias_map)
