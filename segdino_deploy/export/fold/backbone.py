"""The backbone as it is exported: the same function as `DinoVisionTransformer`, with its constants folded.

B1 here; B2, B3, B6, B8 in `attention`; B4, B5, B7 by `affine`. Names as in `export.rewrites`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdino_deploy.export.fold.affine import affine_of, fold_layer_scale, fold_norm, plain_norm, to_conv, to_linear
from segdino_deploy.export.fold.attention import FoldedAttention, rope_tables
from segdino_deploy.model.dinov3 import PATCH_SIZE, Block, DinoVisionTransformer, Mlp, SwiGLU


def fold_input_scaling(patch: nn.Conv2d, mean: Sequence[float], std: Sequence[float]) -> nn.Conv2d:
    """B1: a convolution of uint8 values that equals `patch` of the normalised image. Computed in float64.

    W' = W / (255 sigma) per input channel, b' = b - sum W mu / sigma. Exact because the stride-16 patches are unpadded.
    """
    weight = patch.weight.double()  # [D, 3, 16, 16]
    mu = torch.tensor(mean, dtype=torch.float64, device=weight.device).view(1, 3, 1, 1)
    sigma = torch.tensor(std, dtype=torch.float64, device=weight.device).view(1, 3, 1, 1)
    assert patch.bias is not None
    bias = patch.bias.double() - (weight * mu / sigma).sum((1, 2, 3))
    return to_conv(weight / (255 * sigma), bias, patch.weight.dtype, stride=PATCH_SIZE)


class FoldedMlp(nn.Module):
    """`ls(fc2(gelu(fc1(norm(x)))))` of a block, given the plain norm's output (B4, B5)."""

    rewrites = ("B4", "B5")

    def __init__(self, norm: nn.LayerNorm, mlp: Mlp, gamma: Tensor) -> None:
        super().__init__()
        dtype = mlp.fc1.weight.dtype
        self.fc1 = to_linear(fold_norm(norm, affine_of(mlp.fc1)), dtype)
        self.fc2 = to_linear(fold_layer_scale(affine_of(mlp.fc2), gamma), dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))  # type: ignore[no-any-return]


class FoldedSwiGLU(nn.Module):
    """`ls(w3(silu(w1(norm(x))) * w2(norm(x))))` of a block, given the plain norm's output (B4, B5)."""

    rewrites = ("B4", "B5")

    def __init__(self, norm: nn.LayerNorm, swiglu: SwiGLU, gamma: Tensor) -> None:
        super().__init__()
        dtype = swiglu.w1.weight.dtype
        self.w1 = to_linear(fold_norm(norm, affine_of(swiglu.w1)), dtype)
        self.w2 = to_linear(fold_norm(norm, affine_of(swiglu.w2)), dtype)
        self.w3 = to_linear(fold_layer_scale(affine_of(swiglu.w3), gamma), dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.w3(F.silu(self.w1(x)) * self.w2(x))  # type: ignore[no-any-return]


def fold_ffn(norm: nn.LayerNorm, ffn: nn.Module, gamma: Tensor) -> nn.Module:
    if isinstance(ffn, Mlp):
        return FoldedMlp(norm, ffn, gamma)
    assert isinstance(ffn, SwiGLU)
    return FoldedSwiGLU(norm, ffn, gamma)


class FoldedBlock(nn.Module):
    def __init__(self, block: Block, sin: Tensor, cos: Tensor) -> None:
        super().__init__()
        self.norm1, self.norm2 = plain_norm(block.norm1), plain_norm(block.norm2)
        self.attn = FoldedAttention(block.norm1, block.attn, block.ls1.gamma, sin, cos)
        self.mlp = fold_ffn(block.norm2, block.mlp, block.ls2.gamma)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class FoldedBackbone(nn.Module):
    """uint8 values (as float) `[N, 3, H, W]` to one `[N, h * w, D]` per tap, for one fixed H x W.

    B7: prefix tokens are dropped before the final norm, whose affine is left to the heads: what comes out has mean 0
    and variance 1. Leaves the faithful backbone untouched.
    """

    rewrites = ("B1", "B7")

    def __init__(
        self,
        backbone: DinoVisionTransformer,
        taps: Iterable[int],
        input_hw: tuple[int, int],
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.taps = tuple(taps)
        self.num_prefix_tokens = backbone.config.num_prefix_tokens
        patch_h, patch_w = input_hw[0] // PATCH_SIZE, input_hw[1] // PATCH_SIZE
        sin, cos = rope_tables(backbone.rope_embed.periods, patch_h, patch_w, self.num_prefix_tokens)
        self.patch_embed = fold_input_scaling(backbone.patch_embed.proj, mean, std)
        self.prefix = nn.Parameter(backbone.prefix_tokens(), requires_grad=False)  # [1, P, D]
        blocks = [block for block in backbone.blocks if isinstance(block, Block)]
        self.blocks = nn.ModuleList(FoldedBlock(block, sin, cos) for block in blocks[: max(self.taps) + 1])
        self.norm = plain_norm(backbone.norm)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        x = self.patch_embed(pixels).flatten(2).transpose(1, 2)  # [N, h * w, D]
        x = torch.cat([self.prefix.expand(x.shape[0], -1, -1), x], dim=1)  # [N, P + h * w, D]
        outputs: dict[int, Tensor] = {}
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.taps:
                outputs[index] = self.norm(x[:, self.num_prefix_tokens :])
        return [outputs[tap] for tap in self.taps]
