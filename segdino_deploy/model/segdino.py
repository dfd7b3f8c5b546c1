"""SegDINO: a frozen DINOv3 backbone and a light head, in the faithful form that serves as the reference."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from segdino_deploy.errors import InputError
from segdino_deploy.model.dinov3 import PATCH_SIZE, DinoVisionTransformer, ViTConfig
from segdino_deploy.model.heads import HeadConfig, build_head


class SegDINO(nn.Module):
    """Normalised image to logits at the image's size, equal to upstream's.

    Attributes: `family`, `backbone`, `head`, `num_classes`, `taps` (0-based block indices that feed the head).
    """

    def __init__(self, vit: ViTConfig, head: HeadConfig, taps: Sequence[int]) -> None:
        super().__init__()
        self.family = head.family
        self.num_classes = head.num_classes
        self.taps = tuple(taps)
        self.backbone = DinoVisionTransformer(vit)
        self.head = build_head(head)

    def forward(self, image: Tensor) -> Tensor:
        """`image`: float32 `[N, 3, H, W]`, RGB, normalised; H and W multiples of 16. Returns logits `[N, C, H, W]`.

        Raises InputError where H or W is no multiple of 16.
        """
        height, width = image.shape[-2:]
        if height % PATCH_SIZE or width % PATCH_SIZE:
            raise InputError(f"image is {height}x{width}: both sides must be multiples of {PATCH_SIZE}")
        features = self.backbone.get_intermediate_layers(image, self.taps)
        logits = self.head(features, height // PATCH_SIZE, width // PATCH_SIZE)  # [N, C, h', w']
        return F.interpolate(logits, size=(height, width), mode="bilinear", align_corners=self.head.final_align_corners)
