"""Self-attention as it is exported: B2, B3, B4, B5, B6 and B8, each a function, then the module they make."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdino_deploy.export.fold.affine import Affine, affine_of, fold_layer_scale, fold_norm, to_linear
from segdino_deploy.model.dinov3 import Attention, MaskedKeyBiasLinear, rope_angles


def fold_qkv(qkv: MaskedKeyBiasLinear, head_dim: int) -> Affine:
    """B2 and B3: the key bias at zero, and 1 / sqrt(d) in the q rows (RoPE is a rotation and commutes with it)."""
    dim = qkv.in_features
    bias = qkv.effective_bias()
    weight = qkv.weight.double().clone()  # [3 D, D]
    bias = weight.new_zeros(3 * dim) if bias is None else bias.double().clone()
    scale = 1 / math.sqrt(head_dim)
    weight[:dim] *= scale
    bias[:dim] *= scale
    return Affine(weight, bias)


def fold_value_bias(qkv: Affine, projection: Affine) -> tuple[Affine, Affine]:
    """B8: rows of softmax sum to one, so the value bias leaves qkv: b_proj' = b_proj + W_proj b_v.

    The key bias stays: after RoPE it depends on the position.
    """
    dim = qkv.weight.shape[1]
    bias = qkv.bias.clone()
    bias[2 * dim :] = 0
    return Affine(qkv.weight, bias), Affine(
        projection.weight, projection.bias + projection.weight @ qkv.bias[2 * dim :]
    )


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
    """`ls(proj(attention(qkv(norm(x)))))` of a block, given the plain norm's output; MatMul, Softmax, MatMul."""

    rewrites = ("B2", "B3", "B4", "B5", "B6", "B8")

    def __init__(self, norm: nn.LayerNorm, attention: Attention, gamma: Tensor, sin: Tensor, cos: Tensor) -> None:
        super().__init__()
        self.num_heads = attention.num_heads
        self.head_dim = attention.qkv.in_features // attention.num_heads
        qkv = fold_norm(norm, fold_qkv(attention.qkv, self.head_dim))
        qkv, projection = fold_value_bias(qkv, affine_of(attention.proj))
        dtype = attention.proj.weight.dtype
        self.qkv = to_linear(qkv, dtype)
        self.proj = to_linear(fold_layer_scale(projection, gamma), dtype)
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
