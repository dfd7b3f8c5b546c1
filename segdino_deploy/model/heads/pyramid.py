"""Families `v2_initial` and `v2` (script-Yang/segdino_v2): a token pyramid and top-down residual fusion."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdino_deploy.model.heads.base import Head, HeadConfig, make_norm, tokens_to_map


class ResidualDepthwiseBlock(nn.Module):
    """x + gamma * GELU(norm(pointwise(depthwise(x)))), under the names the family gives the two convolutions."""

    def __init__(self, channels: int, norm: str, depthwise_name: str, pointwise_name: str) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.add_module(depthwise_name, nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False))
        self.add_module(pointwise_name, nn.Conv2d(channels, channels, 1, bias=False))
        self.norm = make_norm(norm, channels)
        self._names = (depthwise_name, pointwise_name)

    @property
    def depthwise_conv(self) -> nn.Conv2d:
        return getattr(self, self._names[0])  # type: ignore[no-any-return]

    @property
    def pointwise_conv(self) -> nn.Conv2d:
        return getattr(self, self._names[1])  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        residual = F.gelu(self.norm(self.pointwise_conv(self.depthwise_conv(x))))
        return x + self.gamma * residual


def fuse_top_down(levels: Sequence[Tensor], blocks: Sequence[nn.Module]) -> Tensor:
    """From the coarsest level (last) to the finest (first): block(resized coarser + level)."""
    x: Tensor = blocks[-1](levels[-1])
    for level, block in zip(reversed(levels[:-1]), reversed(blocks[:-1]), strict=True):
        x = F.interpolate(x, size=level.shape[-2:], mode="bilinear", align_corners=False)
        x = block(x + level)
    return x


class InitialPyramidHead(Head):
    """`v2_initial` (March 2026): levels by transposed x4, x2, identity and a stride-2 3x3; width D; output at x4."""

    final_align_corners = True

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        k = config.features
        self.proj = nn.ModuleList(nn.Conv2d(config.embed_dim, k, 1, bias=False) for _ in range(4))
        self.rsz1 = nn.ConvTranspose2d(k, k, 4, stride=4, bias=False)
        self.rsz2 = nn.ConvTranspose2d(k, k, 2, stride=2, bias=False)
        self.rsz3 = nn.Identity()
        self.rsz4 = nn.Conv2d(k, k, 3, stride=2, padding=1, bias=False)
        for level in (1, 2, 3, 4):
            for stage in ("intra", "inter"):
                self.add_module(f"{stage}_r{level}", ResidualDepthwiseBlock(k, config.norm, "dw", "pw"))
        self.out_conv = nn.Conv2d(k, config.num_classes, 1)

    def forward(self, features: Sequence[Tensor], patch_h: int, patch_w: int) -> Tensor:
        levels = []
        for i, tokens in enumerate(features):
            x = self.proj[i](tokens_to_map(tokens, patch_h, patch_w))
            x = getattr(self, f"rsz{i + 1}")(x)
            levels.append(getattr(self, f"intra_r{i + 1}")(x))
        fused = fuse_top_down(levels, [getattr(self, f"inter_r{i}") for i in (1, 2, 3, 4)])
        return self.out_conv(fused)  # type: ignore[no-any-return]


class UpsampledConv(nn.Module):
    """Bilinear x`scale` (align_corners=False), then 3x3 without bias."""

    def __init__(self, channels: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.scale != 1:
            size = (self.scale * x.shape[-2], self.scale * x.shape[-1])
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        return self.conv(x)  # type: ignore[no-any-return]


class PyramidHead(Head):
    """`v2` (April 2026 on, arXiv 2606.17972): token pyramid adaptation, scale-aware decoding; output at x8."""

    final_align_corners = False
    scales = (8, 4, 2, 1)

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        k = config.features
        self.token_projections = nn.ModuleList(nn.Conv2d(config.embed_dim, k, 1, bias=False) for _ in range(4))
        for level, scale in enumerate(self.scales, start=1):
            self.add_module(f"tpa_branch_{level}", UpsampledConv(k, scale))
            for stage in ("intra", "inter"):
                block = ResidualDepthwiseBlock(k, config.norm, "depthwise", "pointwise")
                self.add_module(f"sad_{stage}_{level}", block)
        self.out_conv = nn.Conv2d(k, config.num_classes, 1)

    def forward(self, features: Sequence[Tensor], patch_h: int, patch_w: int) -> Tensor:
        levels = []
        for i, tokens in enumerate(features):
            x = self.token_projections[i](tokens_to_map(tokens, patch_h, patch_w))
            x = getattr(self, f"tpa_branch_{i + 1}")(x)
            levels.append(getattr(self, f"sad_intra_{i + 1}")(x))
        fused = fuse_top_down(levels, [getattr(self, f"sad_inter_{i}") for i in (1, 2, 3, 4)])
        return self.out_conv(fused)  # type: ignore[no-any-return]
