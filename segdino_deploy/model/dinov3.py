"""The DINOv3 vision transformer, as SegDINO uses it: patch tokens of chosen blocks after the final norm.

Module and parameter names are upstream's, so that a state dict loads without renaming.
Facts and sources: arXiv 2508.10104 (DINOv3) and the public facebookresearch/dinov3 checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PATCH_SIZE = 16
LAYER_NORM_EPS = 1e-5


@dataclass(frozen=True)
class ViTConfig:
    """Sizes of a DINOv3 ViT. Every one of them can be read from the tensors of a checkpoint."""

    embed_dim: int  # D
    depth: int  # number of blocks
    num_heads: int
    ffn: str  # "mlp" or "swiglu"
    ffn_hidden_dim: int
    num_registers: int = 4  # storage tokens after the class token
    qkv_bias: bool = True
    has_local_cls_norm: bool = False  # SAT-493M and 7B files carry it; inference never uses it

    @property
    def head_dim(self) -> int:
        return self.embed_dim // self.num_heads

    @property
    def num_prefix_tokens(self) -> int:
        """Class token and registers: the tokens before the patch tokens."""
        return 1 + self.num_registers


def rope_angles(periods: Tensor, patch_h: int, patch_w: int) -> Tensor:
    """Rotation angles of the patch tokens: float `[patch_h * patch_w, head_dim]`.

    `periods`: float `[head_dim / 4]`. Patch centres are mapped to [-1, 1] on each axis; angle = 2 pi * coordinate /
    period, height first, then width; the `head_dim / 2` angles are repeated twice for rotate-half.
    """
    device, dtype = periods.device, periods.dtype
    coords_h = (torch.arange(patch_h, device=device, dtype=dtype) + 0.5) / patch_h * 2 - 1  # [h]
    coords_w = (torch.arange(patch_w, device=device, dtype=dtype) + 0.5) / patch_w * 2 - 1  # [w]
    grid = torch.stack(torch.meshgrid(coords_h, coords_w, indexing="ij"), dim=-1)  # [h, w, 2]
    angles = 2 * math.pi * grid[..., None] / periods  # [h, w, 2, d/4]
    angles = angles.flatten(2).flatten(0, 1)  # [h * w, d/2]
    return torch.cat([angles, angles], dim=-1)  # [h * w, d]


def rotate_half(x: Tensor) -> Tensor:
    """`(a, b) -> (-b, a)` on the two halves of the last dimension."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([-second, first], dim=-1)


class RopeEmbedding(nn.Module):
    """Holds the stored periods: float `[head_dim / 4]`. Released files round them to bfloat16: never recompute them."""

    periods: Tensor

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        quarter = head_dim // 4
        # periods = 100^(2i / (d/2)), i < d/4
        exponents = 2 * torch.arange(quarter, dtype=torch.float32) / (head_dim // 2)
        self.register_buffer("periods", 100.0**exponents)

    def forward(self, patch_h: int, patch_w: int) -> tuple[Tensor, Tensor]:
        """Sine and cosine tables, each `[patch_h * patch_w, head_dim]`."""
        angles = rope_angles(self.periods, patch_h, patch_w)
        return angles.sin(), angles.cos()


class MaskedKeyBiasLinear(nn.Linear):
    """The qkv projection. `bias_mask` is zero on the key rows: keys have no bias."""

    bias_mask: Tensor

    def __init__(self, in_features: int, out_features: int, bias: bool) -> None:
        super().__init__(in_features, out_features, bias=bias)
        if bias:
            mask = torch.ones(out_features)
            mask[out_features // 3 : 2 * out_features // 3] = 0
            self.register_buffer("bias_mask", mask)

    def effective_bias(self) -> Tensor | None:
        """Bias with the key rows at zero (`[3 D]`), or None. A NaN in the mask stays a NaN: loading refuses it."""
        return None if self.bias is None else self.bias * self.bias_mask

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.effective_bias())


class Attention(nn.Module):
    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.num_prefix_tokens = config.num_prefix_tokens
        self.qkv = MaskedKeyBiasLinear(config.embed_dim, 3 * config.embed_dim, bias=config.qkv_bias)
        self.proj = nn.Linear(config.embed_dim, config.embed_dim)

    def _rotate_patches(self, x: Tensor, sin: Tensor, cos: Tensor) -> Tensor:
        prefix, patches = x[:, :, : self.num_prefix_tokens], x[:, :, self.num_prefix_tokens :]
        return torch.cat([prefix, patches * cos + rotate_half(patches) * sin], dim=2)

    def forward(self, x: Tensor, sin: Tensor, cos: Tensor) -> Tensor:
        n, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3, self.num_heads, dim // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [N, heads, tokens, d]
        q, k = self._rotate_patches(q, sin, cos), self._rotate_patches(k, sin, cos)
        out = F.scaled_dot_product_attention(q, k, v)  # [N, heads, tokens, d]
        out = out.transpose(1, 2).reshape(n, tokens, dim)
        return self.proj(out)  # type: ignore[no-any-return]


class Mlp(nn.Module):
    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))  # type: ignore[no-any-return]


class SwiGLU(nn.Module):
    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(dim, hidden_dim)
        self.w2 = nn.Linear(dim, hidden_dim)
        self.w3 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.w3(F.silu(self.w1(x)) * self.w2(x))  # type: ignore[no-any-return]


class LayerScale(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Block(nn.Module):
    """Pre-norm transformer block with LayerScale on both residual branches."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.norm1 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.attn = Attention(config)
        self.ls1 = LayerScale(dim)
        self.norm2 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        ffn = {"mlp": Mlp, "swiglu": SwiGLU}[config.ffn]
        self.mlp = ffn(dim, config.ffn_hidden_dim)
        self.ls2 = LayerScale(dim)

    def forward(self, x: Tensor, sin: Tensor, cos: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x), sin, cos))
        return x + self.ls2(self.mlp(self.norm2(x)))  # type: ignore[no-any-return]


class PatchEmbed(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, kernel_size=PATCH_SIZE, stride=PATCH_SIZE)

    def forward(self, image: Tensor) -> Tensor:
        return self.proj(image).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]  # [N, h * w, D]


class DinoVisionTransformer(nn.Module):
    """DINOv3 ViT in evaluation mode: no RoPE shift, jitter or rescale, no stochastic depth."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.embed_dim
        self.patch_embed = PatchEmbed(dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        if config.num_registers:
            self.storage_tokens = nn.Parameter(torch.zeros(1, config.num_registers, dim))
        self.mask_token = nn.Parameter(torch.zeros(1, dim))  # in every file, never used at inference
        self.rope_embed = RopeEmbedding(config.head_dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        if config.has_local_cls_norm:
            self.local_cls_norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)

    def prefix_tokens(self) -> Tensor:
        """Class token and registers: `[1, P, D]`."""
        if self.config.num_registers:
            return torch.cat([self.cls_token, self.storage_tokens], dim=1)
        return self.cls_token

    def get_intermediate_layers(self, image: Tensor, taps: Sequence[int]) -> list[Tensor]:
        """Patch tokens of the tapped blocks after the final norm.

        `image`: float `[N, 3, H, W]`, normalised, H and W multiples of 16. Returns one `[N, (H/16)(W/16), D]` per tap.
        """
        patch_h, patch_w = image.shape[-2] // PATCH_SIZE, image.shape[-1] // PATCH_SIZE
        x = self.patch_embed(image)  # [N, h * w, D]
        x = torch.cat([self.prefix_tokens().expand(x.shape[0], -1, -1), x], dim=1)  # [N, P + h * w, D]
        sin, cos = self.rope_embed(patch_h, patch_w)
        outputs: dict[int, Tensor] = {}
        for index, block in enumerate(self.blocks[: max(taps) + 1]):
            x = block(x, sin, cos)
            if index in taps:
                outputs[index] = self.norm(x)[:, self.config.num_prefix_tokens :]
        return [outputs[tap] for tap in taps]
