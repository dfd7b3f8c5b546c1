"""ViT-S checkpoints with random weights: time and memory do not depend on their values."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from segdino_deploy.model.dinov3 import ViTConfig
from segdino_deploy.model.families import FAMILIES, default_taps
from segdino_deploy.model.heads import HeadConfig
from segdino_deploy.model.segdino import SegDINO

VIT_S = ViTConfig(embed_dim=384, depth=12, num_heads=6, ffn="mlp", ffn_hidden_dim=1536)


def head_config(family: str, embed_dim: int) -> HeadConfig:
    """Upstream's sizes, one class: 128 features behind 96 to 768 channels (v1), width D (v2_initial), 256 (v2)."""
    if family == "v2":
        return HeadConfig(family, embed_dim, 1, (256,) * 4, 256, "group")
    if family == "v2_initial":
        return HeadConfig(family, embed_dim, 1, (embed_dim,) * 4, embed_dim, "batch")
    return HeadConfig(family, embed_dim, 1, (96, 192, 384, 768), 128)


def random_segdino(family: str, vit: ViTConfig = VIT_S, seed: int = 0) -> SegDINO:
    """PyTorch's own initialisation, with gammas, norms and biases that are not trivial."""
    torch.manual_seed(seed)
    model = SegDINO(vit, head_config(family, vit.embed_dim), default_taps(vit.depth)).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if parameter.ndim <= 1:
            spread = 0.1 * torch.randn_like(parameter)
            parameter.copy_(spread if name.endswith("bias") else 0.5 + spread)
        elif name.endswith("token") or name.endswith("tokens"):
            nn.init.normal_(parameter, std=0.02)
    return model


def save_checkpoint(model: SegDINO, path: Path) -> Path:
    """Writes a model under upstream's key names."""
    prefix = next(family.prefix for family in FAMILIES if family.name == model.family)
    state = {f"backbone.{key}": tensor for key, tensor in model.backbone.state_dict().items()}
    state |= {f"{prefix}{key}": tensor for key, tensor in model.head.state_dict().items()}
    torch.save(state, path)
    return path
