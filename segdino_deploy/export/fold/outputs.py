"""The last steps of the exported graph: logits at the image's size to the outputs a user asked for."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def mask_from_logits(logits: Tensor, threshold: float) -> Tensor:
    """O1: `[N, C, H, W]` to uint8 `[N, H, W]`: logit > log(T / (1 - T)) for one class, argmax for several."""
    if logits.shape[1] == 1:
        return (logits[:, 0] > math.log(threshold / (1 - threshold))).to(torch.uint8)
    return logits.argmax(dim=1).to(torch.uint8)


def probability_from_logits(logits: Tensor) -> Tensor:
    """`[N, C, H, W]`: sigmoid for one class, softmax over the classes for several."""
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=1)
