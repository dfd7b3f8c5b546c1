"""`fine_grained`: transposed, strided and pointwise convolutions composed, or moved to the coarser map (H2, T5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from segdino_deploy.export.fold.affine import Affine, to_conv, to_linear
from segdino_deploy.export.fold.convolution import border_map
from segdino_deploy.export.fold.heads.base import ComposedConv, FoldedHead, fold_projections
from segdino_deploy.export.fold.transposed import conv_of_blocks
from segdino_deploy.model.heads.base import tokens_to_map
from segdino_deploy.model.heads.fine_grained import FeatureFusion, FineGrainedHead


class BlocksConv(nn.Module):
    """Projection, transposed convolution by s and 3x3 as one 2x2 convolution of the projected tokens."""

    rewrites = ("T5b",)

    def __init__(
        self, projection: Affine, transposed: nn.ConvTranspose2d, conv: nn.Conv2d, grid: tuple[int, int]
    ) -> None:
        super().__init__()
        dtype = conv.weight.dtype
        self.grid, self.block = grid, transposed.kernel_size[0]
        self.projection = to_linear(projection, dtype)
        self.conv = to_conv(conv_of_blocks(conv, transposed), None, dtype, padding=1)
        assert transposed.bias is not None
        # The transposed convolution's bias is a constant that meets the 3x3's zero padding at the fine resolution.
        tap_bias = (conv.weight.double() * transposed.bias.double()[None, :, None, None]).sum(1)  # [F, 3, 3]
        bias_map = border_map(tap_bias, self.block * grid[0], self.block * grid[1])
        self.bias_map = nn.Buffer(bias_map.to(dtype))  # [1, F, s h, s w]

    def forward(self, tokens: Tensor) -> Tensor:
        h, w = self.grid
        blocks = self.conv(tokens_to_map(self.projection(tokens), h, w))  # [N, F s s, h + 1, w + 1]
        crop = self.block // 2
        fine = F.pixel_shuffle(blocks, self.block)[..., crop : crop + self.block * h, crop : crop + self.block * w]
        return fine + self.bias_map


class FoldedFusion(nn.Module):
    """The fusion block with its 1x1 before the resize (H2): four times fewer positions where it doubles the size."""

    rewrites = ("H2",)

    def __init__(self, fusion: FeatureFusion) -> None:
        super().__init__()
        self.skip_unit, self.unit, self.out_conv = fusion.resConfUnit1, fusion.resConfUnit2, fusion.out_conv

    def forward(self, path: Tensor, skip: Tensor | None, size: tuple[int, int]) -> Tensor:
        if skip is not None:
            path = path + self.skip_unit(skip)
        return F.interpolate(self.out_conv(self.unit(path)), size=size, mode="bilinear", align_corners=True)


class FoldedFineGrainedHead(FoldedHead):
    final_align_corners = True

    def __init__(self, head: FineGrainedHead, final_norm: nn.LayerNorm, grid: tuple[int, int]) -> None:
        super().__init__()
        projections = fold_projections(final_norm, head.projects)
        scratch, resize = head.scratch, head.resize_layers
        self.levels = nn.ModuleList(
            [
                BlocksConv(projections[0], resize[0], scratch.layer1_rn, grid),  # type: ignore[arg-type]
                BlocksConv(projections[1], resize[1], scratch.layer2_rn, grid),  # type: ignore[arg-type]
                ComposedConv(projections[2], scratch.layer3_rn, grid),  # type: ignore[arg-type]
                nn.Sequential(ComposedConv(projections[3], resize[3], grid), scratch.layer4_rn),  # type: ignore[arg-type]
            ]
        )
        self.fusions = nn.ModuleList(FoldedFusion(getattr(scratch, f"refinenet{i}")) for i in (1, 2, 3, 4))
        self.output_conv = scratch.output_conv

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        levels = [level(x) for level, x in zip(self.levels, features, strict=True)]
        sizes: list[tuple[int, int]] = [(level.shape[-2], level.shape[-1]) for level in levels]
        targets = [(2 * sizes[0][0], 2 * sizes[0][1]), *sizes[:3]]
        path: Tensor = self.fusions[3](levels[3], None, targets[3])
        for i in (2, 1, 0):
            path = self.fusions[i](path, levels[i], targets[i])
        return self.output_conv(path)  # type: ignore[no-any-return]
