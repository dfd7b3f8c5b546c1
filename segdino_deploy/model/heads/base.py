"""What every SegDINO head shares: its contract and the small tensor helpers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class HeadConfig:
    """Sizes of a head, all read from the tensors of a checkpoint."""

    family: str
    embed_dim: int  # D, the backbone's width
    num_classes: int  # C
    widths: tuple[int, ...]  # output channels of the four 1x1 projections
    features: int  # channels after them
    norm: str = "none"  # norm of the residual blocks: "none", "group" or "batch"


class Head(nn.Module):
    """Features of the four taps to class maps at the head's own resolution.

    `forward(features, patch_h, patch_w)`: four `[N, patch_h * patch_w, D]` to logits `[N, C, h', w']`.
    """

    final_align_corners: bool  # of the bilinear resize to the image's size that follows

    def forward(self, features: Sequence[Tensor], patch_h: int, patch_w: int) -> Tensor:
        raise NotImplementedError


def tokens_to_map(tokens: Tensor, patch_h: int, patch_w: int) -> Tensor:
    """`[N, h * w, D]` to `[N, D, h, w]`."""
    return tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], patch_h, patch_w)


def make_norm(kind: str, channels: int) -> nn.Module:
    """`group`: GroupNorm of min(32, channels) groups; `batch`: BatchNorm2d (running statistics in the file)."""
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(min(32, channels), channels)
