"""The whole exported module: uint8 image in, logits and the asked outputs out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from segdino_deploy.export.fold.backbone import FoldedBackbone
from segdino_deploy.export.fold.heads import FoldedHead, fold_head
from segdino_deploy.export.fold.outputs import mask_from_logits, probability_from_logits
from segdino_deploy.model.dinov3 import PATCH_SIZE
from segdino_deploy.model.segdino import SegDINO


class FoldedSegDINO(nn.Module):
    """`image`: uint8 `[N, H, W, 3]`, RGB, at the model's size. Returns mask, probability, logits of head after head.

    `models` and `thresholds`: by head name. The backbone, which must be the same in all models, runs once, to the
    largest tap.
    """

    def __init__(
        self,
        models: Mapping[str, SegDINO],
        input_hw: tuple[int, int],
        mean: Sequence[float],
        std: Sequence[float],
        thresholds: Mapping[str, float],
    ) -> None:
        super().__init__()
        self.input_hw = input_hw
        self.thresholds = [thresholds[name] for name in models]
        self.taps_of_heads = [model.taps for model in models.values()]
        taps = sorted({tap for model in models.values() for tap in model.taps})
        backbone = next(iter(models.values())).backbone
        grid = (input_hw[0] // PATCH_SIZE, input_hw[1] // PATCH_SIZE)
        self.backbone = FoldedBackbone(backbone, taps, input_hw, mean, std)
        self.heads = [f"head_{name}" if name else "head" for name in models]  # node names start with them
        for attribute, model in zip(self.heads, models.values(), strict=True):
            self.add_module(attribute, fold_head(model.head, backbone.norm, grid))
        self.rewrites = ("O1",) * sum(model.num_classes == 1 for model in models.values())

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        pixels = image.to(self.backbone.patch_embed.weight.dtype).permute(0, 3, 1, 2)  # [N, 3, H, W]
        features = dict(zip(self.backbone.taps, self.backbone(pixels), strict=True))
        outputs: list[Tensor] = []
        for attribute, taps, threshold in zip(self.heads, self.taps_of_heads, self.thresholds, strict=True):
            head = cast(FoldedHead, self.get_submodule(attribute))
            logits = head([features[tap] for tap in taps])  # [N, C, h', w']
            align_corners = head.final_align_corners
            logits = F.interpolate(logits, size=self.input_hw, mode="bilinear", align_corners=align_corners)
            outputs += [mask_from_logits(logits, threshold), probability_from_logits(logits), logits]
        return tuple(outputs)
