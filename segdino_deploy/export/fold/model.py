"""The whole exported module: uint8 image in, logits and the asked outputs out."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from segdino_deploy.export.fold.backbone import FoldedBackbone
from segdino_deploy.export.fold.heads import fold_head
from segdino_deploy.export.fold.outputs import mask_from_logits, probability_from_logits
from segdino_deploy.model.dinov3 import PATCH_SIZE
from segdino_deploy.model.segdino import SegDINO


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
        grid = (input_hw[0] // PATCH_SIZE, input_hw[1] // PATCH_SIZE)
        self.backbone = FoldedBackbone(model.backbone, model.taps, input_hw, mean, std)
        self.head = fold_head(model.head, model.backbone.norm, grid)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pixels = image.to(self.backbone.patch_embed.weight.dtype).permute(0, 3, 1, 2)  # [N, 3, H, W]
        logits = self.head(self.backbone(pixels))  # [N, C, h', w']
        logits = F.interpolate(logits, size=self.input_hw, mode="bilinear", align_corners=self.head.final_align_corners)
        return mask_from_logits(logits, self.threshold), probability_from_logits(logits), logits
