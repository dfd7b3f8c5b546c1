"""The whole exported module: uint8 image in, logits and the asked outputs out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdino_deploy.export.fold.backbone import FoldedBackbone
from segdino_deploy.model.dinov3 import PATCH_SIZE
from segdino_deploy.model.segdino import SegDINO


def mask_from_logits(logits: Tensor, threshold: float) -> Tensor:
    """O1: `[N, C, H, W]` to uint8 `[N, H, W]`: logit > log(T / (1 - T)) for one class, argmax for several."""
    if logits.shape[1] == 1:
        return (logits[:, 0] > math.log(threshold / (1 - threshold))).to(torch.uint8)
    return logits.argmax(dim=1).to(torch.uint8)


def probability_from_logits(logits: Tensor) -> Tensor:
    """`[N, C, H, W]`: sigmoid for one class, softmax over the classes for several."""
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=1)


class FoldedSegDINO(nn.Module):
    """`image`: uint8 `[N, H, W, 3]`, RGB, at the model's size. Returns (mask, probability, logits)."""

    def __init__(
        self,
        model: SegDINO,
        input_hw: tuple[int, int],
        mean: Sequence[float],
        std: Sequence[float],
        threshold: float,
    ) -> None:
        super().__init__()
        self.input_hw = input_hw
        self.threshold = threshold
        self.backbone = FoldedBackbone(model.backbone, model.taps, input_hw, mean, std)
        self.head = model.head

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        height, width = self.input_hw
        pixels = image.to(self.backbone.patch_embed.weight.dtype).permute(0, 3, 1, 2)  # [N, 3, H, W]
        logits = self.head(self.backbone(pixels), height // PATCH_SIZE, width // PATCH_SIZE)  # [N, C, h', w']
        logits = F.interpolate(
            logits, size=(height, width), mode="bilinear", align_corners=self.head.final_align_corners
        )
        return mask_from_logits(logits, self.threshold), probability_from_logits(logits), logits
