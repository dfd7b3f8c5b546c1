"""Family `fine_grained` (script-Yang/segdino, fine_grained_decoder): a DPT-like head with ReLU residual units."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from segdino_deploy.model.heads.base import Head, HeadConfig, tokens_to_map


class ResidualConvUnit(nn.Module):
    """x + conv(relu(conv(relu(x))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))  # type: ignore[no-any-return]


class FeatureFusion(nn.Module):
    """Adds the refined skip to the coarser path, refines, resizes (align_corners=True), 1x1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(channels, channels, 1)
        self.resConfUnit1 = ResidualConvUnit(channels)
        self.resConfUnit2 = ResidualConvUnit(channels)

    def forward(self, path: Tensor, skip: Tensor | None, size: tuple[int, int]) -> Tensor:
        if skip is not None:  # the coarsest block has no skip: its resConfUnit1 holds weights that nothing uses
            path = path + self.resConfUnit1(skip)
        path = F.interpolate(self.resConfUnit2(path), size=size, mode="bilinear", align_corners=True)
        return self.out_conv(path)  # type: ignore[no-any-return]


class FineGrainedScratch(nn.Module):
    """Everything after the resize layers, under upstream's name `scratch`."""

    def __init__(self, widths: Sequence[int], features: int, num_classes: int) -> None:
        super().__init__()
        for level, width in enumerate(widths, start=1):
            self.add_module(f"layer{level}_rn", nn.Conv2d(width, features, 3, padding=1, bias=False))
            self.add_module(f"refinenet{level}", FeatureFusion(features))
        self.output_conv = nn.Sequential(
            nn.Conv2d(features, features, 3, padding=1), nn.ReLU(), nn.Conv2d(features, num_classes, 1)
        )


class FineGrainedHead(Head):
    """Levels at x4, x2, x1 and x1/2 of the patch grid, fused from coarse to fine; output at x8."""

    final_align_corners = True

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        w = config.widths
        self.projects = nn.ModuleList(nn.Conv2d(config.embed_dim, width, 1) for width in w)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(w[0], w[0], 4, stride=4),
                nn.ConvTranspose2d(w[1], w[1], 2, stride=2),
                nn.Identity(),
                nn.Conv2d(w[3], w[3], 3, stride=2, padding=1),
            ]
        )
        self.scratch = FineGrainedScratch(w, config.features, config.num_classes)

    def forward(self, features: Sequence[Tensor], patch_h: int, patch_w: int) -> Tensor:
        levels = [
            getattr(self.scratch, f"layer{i + 1}_rn")(
                self.resize_layers[i](self.projects[i](tokens_to_map(tokens, patch_h, patch_w)))
            )
            for i, tokens in enumerate(features)
        ]
        sizes: list[tuple[int, int]] = [(level.shape[-2], level.shape[-1]) for level in levels]
        finest = (2 * sizes[0][0], 2 * sizes[0][1])
        fuse = [getattr(self.scratch, f"refinenet{level}") for level in (1, 2, 3, 4)]
        path: Tensor = fuse[3](levels[3], None, sizes[2])
        path = fuse[2](path, levels[2], sizes[1])
        path = fuse[1](path, levels[1], sizes[0])
        path = fuse[0](path, levels[0], finest)
        return self.scratch.output_conv(path)  # type: ignore[no-any-return]
