"""`v2` and `v2_initial` with every linear chain composed: T1 to T4, BatchNorm, and the output layer before the sum."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from segdino_deploy.export.fold.affine import Affine, TokensToChannels, affine_of, fold_batch_norm, to_conv
from segdino_deploy.export.fold.heads.base import ComposedConv, FoldedHead, fold_projections
from segdino_deploy.export.fold.transposed import transposed_after
from segdino_deploy.export.fold.upsampling import UpsampledConvFromTokens
from segdino_deploy.model.heads.pyramid import (
    InitialPyramidHead,
    PyramidHead,
    ResidualDepthwiseBlock,
    fuse_top_down,
)


class FoldedResidual(nn.Module):
    """x + gamma * GELU(norm(pointwise(depthwise(x)))) of a residual block, for x given in units of `unit`."""

    def __init__(self, block: ResidualDepthwiseBlock, unit: float = 1.0) -> None:
        super().__init__()
        gamma = block.gamma.double() / unit
        self.gamma = None if bool(gamma == 1) else nn.Buffer(gamma.to(block.gamma.dtype))
        self.depthwise = scaled(block.depthwise_conv, unit)
        self.pointwise, self.norm = block.pointwise_conv, block.norm
        self.rewrites = ("BN",) if isinstance(block.norm, nn.BatchNorm2d) else ()
        if isinstance(block.norm, nn.BatchNorm2d):
            self.pointwise, self.norm = fold_batch_norm(block.pointwise_conv, block.norm), nn.Identity()

    def activation(self, x: Tensor) -> Tensor:
        return F.gelu(self.norm(self.pointwise(self.depthwise(x))))

    def forward(self, x: Tensor) -> Tensor:
        residual = self.activation(x)
        return x + (residual if self.gamma is None else self.gamma * residual)


def scaled(conv: nn.Conv2d, factor: float) -> nn.Conv2d:
    """A convolution without bias times a number; the given one is left as it is."""
    if factor == 1:
        return conv
    result = copy.deepcopy(conv)
    result.weight = nn.Parameter((conv.weight.double() * factor).to(conv.weight.dtype), requires_grad=False)
    return result


def residual_unit(gamma: Tensor) -> float:
    """T5d: the residual scale of the finest level as the unit of all maps, so that this level needs no product by it.

    x + gamma r = gamma (x / gamma + r): 1 / gamma goes into the linear layers before, gamma into those after. Only
    where it is far from the limits of 16-bit formats; else 1, which changes nothing.
    """
    unit = float(gamma)
    return unit if 2**-6 <= abs(unit) <= 2**6 else 1.0


class OutputAfterBlock(nn.Module):
    """The last residual block and the 1x1 to classes after it: W (x + gamma r) + b = W x + (gamma W) r + b.

    The sum then runs over C class maps instead of K wide ones, and gamma needs no pass of its own. x comes in `unit`s.
    """

    rewrites = ("T5c",)

    def __init__(self, block: nn.Module, output: nn.Conv2d, unit: float = 1.0) -> None:
        super().__init__()
        assert isinstance(block, ResidualDepthwiseBlock)
        dtype = output.weight.dtype
        self.block = FoldedResidual(block, unit)
        affine = affine_of(output)
        self.of_input = to_conv(unit * affine.weight[:, :, None, None], affine.bias, dtype)
        self.of_residual = to_conv((block.gamma.double() * affine.weight)[:, :, None, None], None, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.of_input(x) + self.of_residual(self.block.activation(x))  # type: ignore[no-any-return]


class TokenMap(nn.Module):
    """Tokens `[N, h * w, D]` through an affine map to `[N, K * s * s, h, w]`, then pixel shuffle by `s`."""

    def __init__(self, affine: Affine, grid: tuple[int, int], like: Tensor, block: int = 1) -> None:
        super().__init__()
        self.grid, self.block = grid, block
        self.rewrites = ("T5a",) if block > 1 else ()
        self.maps = TokensToChannels(affine, like.dtype)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.maps(tokens).reshape(-1, self.maps.weight.shape[0], *self.grid)  # [N, K s s, h, w]
        return F.pixel_shuffle(x, self.block) if self.block > 1 else x


class FoldedPyramidHead(FoldedHead):
    """`v2`: the three upsampled branches by T1 and T2, the fourth by T3."""

    final_align_corners = False

    def __init__(self, head: PyramidHead, final_norm: nn.LayerNorm, grid: tuple[int, int]) -> None:
        super().__init__()
        unit = residual_unit(head.get_parameter("sad_intra_1.gamma"))
        self.rewrites = ("T5d",) if unit != 1 else ()
        self.branches = nn.ModuleList()
        for i, projection in enumerate(fold_projections(final_norm, head.token_projections)):
            branch = getattr(head, f"tpa_branch_{i + 1}")
            conv = scaled(branch.conv, 1 / unit)
            if branch.scale == 1:
                self.branches.append(ComposedConv(projection, conv, grid))
            else:
                self.branches.append(UpsampledConvFromTokens(projection, conv, grid, branch.scale, False))
        self.intra = nn.ModuleList(FoldedResidual(getattr(head, f"sad_intra_{i}"), unit) for i in (1, 2, 3, 4))
        self.inter = nn.ModuleList([OutputAfterBlock(head.get_submodule("sad_inter_1"), head.out_conv, unit)])
        self.inter.extend(FoldedResidual(getattr(head, f"sad_inter_{i}"), unit) for i in (2, 3, 4))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        levels = [intra(branch(x)) for x, branch, intra in zip(features, self.branches, self.intra, strict=True)]
        return fuse_top_down(levels, list(self.inter))


class FoldedInitialPyramidHead(FoldedHead):
    """`v2_initial`: projections inside the transposed and the strided convolution; BatchNorm in the pointwise one."""

    final_align_corners = True

    def __init__(self, head: InitialPyramidHead, final_norm: nn.LayerNorm, grid: tuple[int, int]) -> None:
        super().__init__()
        projections = fold_projections(final_norm, head.proj)
        like = head.out_conv.weight
        self.resizes = nn.ModuleList(
            [
                TokenMap(transposed_after(head.rsz1, projections[0]), grid, like, block=4),
                TokenMap(transposed_after(head.rsz2, projections[1]), grid, like, block=2),
                TokenMap(projections[2], grid, like),
                ComposedConv(projections[3], head.rsz4, grid),
            ]
        )
        self.intra = nn.ModuleList(FoldedResidual(getattr(head, f"intra_r{i}")) for i in (1, 2, 3, 4))
        self.inter = nn.ModuleList([OutputAfterBlock(head.get_submodule("inter_r1"), head.out_conv)])
        self.inter.extend(FoldedResidual(getattr(head, f"inter_r{i}")) for i in (2, 3, 4))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        levels = [intra(resize(x)) for x, resize, intra in zip(features, self.resizes, self.intra, strict=True)]
        return fuse_top_down(levels, list(self.inter))
