"""The backbone as it is exported: the same function as `DinoVisionTransformer`, with its constants folded.

Applied here (names as in the mathematics of this project, each exact in real arithmetic):
- B1 input scaling: ((u / 255) - mean) / std moves into the patch embedding, so uint8 pixels go in.
- B2 masked key bias: bias * mask is computed once.
- B3 attention scale: 1 / sqrt(d) moves into the q rows (exact for d a power of 4; RoPE is a rotation and commutes).
- B6 RoPE tables: sine and cosine are constants of the grid, padded with cos = 1, sin = 0 for the prefix tokens, the
  sign of rotate-half inside the sine table: no token is sliced off and no `tile` reaches the graph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdino_deploy.model.dinov3 import (
    PATCH_SIZE,
    Attention,
    Block,
    DinoVisionTransformer,
    MaskedKeyBiasLinear,
    rope_angles,
)


def fold_input_scaling(patch: nn.Conv2d, mean: Sequence[float], std: Sequence[float]) -> nn.Conv2d:
    """B1: a convolution of uint8 values that equals `patch` of the normalised image. Computed in float64.

    W' = W / (255 sigma) per input channel, b' = b - sum W mu / sigma. Exact because the stride-16 patches are unpadded.
    """
    weight = patch.weight.double()  # [D, 3, 16, 16]
    mu = torch.tensor(mean, dtype=torch.float64, device=weight.device).view(1, 3, 1, 1)
    sigma = torch.tensor(std, dtype=torch.float64, device=weight.device).view(1, 3, 1, 1)
    assert patch.bias is not None
    folded = nn.Conv2d(3, patch.out_channels, PATCH_SIZE, stride=PATCH_SIZE, dtype=patch.weight.dtype)
    folded.weight = nn.Parameter((weight / (255 * sigma)).to(patch.weight.dtype), requires_grad=False)
    bias = patch.bias.double() - (weight * mu / sigma).sum((1, 2, 3))
    folded.bias = nn.Parameter(bias.to(patch.weight.dtype), requires_grad=False)
    return folded


def fold_qkv(qkv: MaskedKeyBiasLinear, head_dim: int) -> nn.Linear:
    """B2 and B3: a plain Linear `[D] -> [3 D]` with the key bias at zero and 1 / sqrt(d) in the q rows."""
    dim = qkv.in_features
    scale = torch.ones(3 * dim, dtype=qkv.weight.dtype)
    scale[:dim] = 1 / math.sqrt(head_dim)
    bias = qkv.effective_bias()
    folded = nn.Linear(dim, 3 * dim, bias=bias is not None, dtype=qkv.weight.dtype)
    folded.weight = nn.Parameter(qkv.weight * scale[:, None], requires_grad=False)
    if bias is not None:
        folded.bias = nn.Parameter(bias * scale, requires_grad=False)
    return folded


def rope_tables(periods: Tensor, patch_h: int, patch_w: int, num_prefix_tokens: int) -> tuple[Tensor, Tensor]:
    """B6: sine (sign of rotate-half inside) and cosine, each `[P + h * w, d]`.

    rotate_half(x) * sin = swap(x) * sin', with swap exchanging the halves and sin' negative on the first half.
    """
    angles = rope_angles(periods, patch_h, patch_w)  # [h * w, d]
    sin, cos = angles.sin(), angles.cos()
    half = sin.shape[1] // 2
    sin = torch.cat([-sin[:, :half], sin[:, half:]], dim=1)
    return F.pad(sin, (0, 0, num_prefix_tokens, 0)), F.pad(cos, (0, 0, num_prefix_tokens, 0), value=1.0)


class FoldedAttention(nn.Module):
    """Attention as MatMul, Softmax, MatMul, with the scale already in q."""

    def __init__(self, attention: Attention, sin: Tensor, cos: Tensor) -> None:
        super().__init__()
        self.num_heads = attention.num_heads
        self.head_dim = attention.qkv.in_features // attention.num_heads
        self.qkv = fold_qkv(attention.qkv, self.head_dim)
        self.proj = attention.proj
        self.sin, self.cos = nn.Buffer(sin), nn.Buffer(cos)  # shared by all blocks: one constant each in the graph

    def _rotate(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=-1)
        return x * self.cos + torch.cat([second, first], dim=-1) * self.sin

    def forward(self, x: Tensor) -> Tensor:
        tokens, dim = x.shape[1:]
        q, k, v = (
            part.reshape(-1, tokens, self.num_heads, self.head_dim).transpose(1, 2)  # [N, heads, tokens, d]
            for part in torch.split(self.qkv(x), dim, dim=-1)
        )
        scores = self._rotate(q) @ self._rotate(k).transpose(-2, -1)  # [N, heads, tokens, tokens]
        out = scores.softmax(dim=-1) @ v  # [N, heads, tokens, d]
        return self.proj(out.transpose(1, 2).reshape(-1, tokens, dim))  # type: ignore[no-any-return]


class FoldedBlock(nn.Module):
    def __init__(self, block: Block, sin: Tensor, cos: Tensor) -> None:
        super().__init__()
        self.norm1, self.ls1, self.norm2, self.mlp, self.ls2 = (
            block.norm1,
            block.ls1,
            block.norm2,
            block.mlp,
            block.ls2,
        )
        self.attn = FoldedAttention(block.attn, sin, cos)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))  # type: ignore[no-any-return]


class FoldedBackbone(nn.Module):
    """uint8 values (as float) `[N, 3, H, W]` to one `[N, h * w, D]` per tap, for one fixed H x W.

    Shares the weights it does not change with the faithful backbone, and leaves that one untouched.
    """

    def __init__(
        self,
        backbone: DinoVisionTransformer,
        taps: Sequence[int],
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
        self.norm = backbone.norm

    def forward(self, pixels: Tensor) -> list[Tensor]:
        x = self.patch_embed(pixels).flatten(2).transpose(1, 2)  # [N, h * w, D]
        x = torch.cat([self.prefix.expand(x.shape[0], -1, -1), x], dim=1)  # [N, P + h * w, D]
        outputs: dict[int, Tensor] = {}
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.taps:
                outputs[index] = self.norm(x[:, self.num_prefix_tokens :])
        return [outputs[tap] for tap in self.taps]
