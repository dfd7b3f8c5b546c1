"""Families `v1_paper` and `v1_convt` (script-Yang/segdino): a head without a nonlinearity."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdino_deploy.model.heads.base import Head, HeadConfig, tokens_to_map


class LinearScratch(nn.Module):
    """The 3x3 convolutions of the four levels and the output layer, under upstream's name `scratch`."""

    def __init__(self, widths: Sequence[int], features: int, num_classes: int) -> None:
        super().__init__()
        for level, width in enumerate(widths, start=1):
            self.add_module(f"layer{level}_rn", nn.Conv2d(width, features, 3, padding=1, bias=False))
        self.output_conv = nn.Conv2d(len(widths) * features, num_classes, 1)


class LinearHead(Head):
    """1x1 -> 3x3 per level, all resized to level 1 (align_corners=True), concatenated, 1x1 to classes.

    `v1_convt` adds `proj`, a stride-4 transposed convolution on level 1; `v1_paper` has none.
    """

    final_align_corners = True

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.projects = nn.ModuleList(nn.Conv2d(config.embed_dim, width, 1) for width in config.widths)
        self.scratch = LinearScratch(config.widths, config.features, config.num_classes)
        self.proj: nn.ConvTranspose2d | None = None
        if config.family == "v1_convt":
            self.proj = nn.ConvTranspose2d(config.features, config.features, 4, stride=4, bias=False)

    def forward(self, features: Sequence[Tensor], patch_h: int, patch_w: int) -> Tensor:
        levels = [
            getattr(self.scratch, f"layer{i + 1}_rn")(self.projects[i](tokens_to_map(tokens, patch_h, patch_w)))
            for i, tokens in enumerate(features)
        ]  # each [N, features, h, w]
        if self.proj is not None:
            levels[0] = self.proj(levels[0])  # [N, features, 4h, 4w]
        size = levels[0].shape[-2:]
        resized = [F.interpolate(level, size=size, mode="bilinear", align_corners=True) for level in levels[1:]]
        return self.scratch.output_conv(torch.cat([levels[0], *resized], dim=1))  # type: ignore[no-any-return]
