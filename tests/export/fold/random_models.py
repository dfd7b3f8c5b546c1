"""Faithful modules with random weights in float64: no norm, scale or bias is trivial."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from segdino_deploy.model.dinov3 import ViTConfig
from segdino_deploy.model.heads import HeadConfig
from segdino_deploy.model.segdino import SegDINO

M = TypeVar("M", bound=nn.Module)
MEAN, STD = (0.43, 0.411, 0.296), (0.213, 0.156, 0.143)
TOLERANCE = 1e-10  # of the largest value; float64 rounds at 1e-16


def randomised(module: M, seed: int = 0) -> M:
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval().requires_grad_(False)
    for parameter in module.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            buffer.data = torch.randn(buffer.shape, generator=generator, dtype=torch.float64)
        if name.endswith("running_var"):
            buffer.data = 0.3 + torch.rand(buffer.shape, generator=generator, dtype=torch.float64)
    return module


def random_model(family: str, num_classes: int, norm: str = "none", features: int = 8, dim: int = 24) -> SegDINO:
    widths = (features,) * 4 if family.startswith("v2") else (6, 8, 10, 12)
    head = HeadConfig(family, dim, num_classes, widths, features, norm)
    return randomised(SegDINO(ViTConfig(dim, 4, 2, "mlp", 40), head, (0, 1, 2, 3)))


def random_pixels(batch: int, height: int, width: int) -> Tensor:
    """uint8 `[N, H, W, 3]`."""
    return torch.randint(0, 256, (batch, height, width, 3), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


def normalised(pixels: Tensor) -> Tensor:
    """float64 `[N, 3, H, W]`."""
    mean, std = torch.tensor([MEAN, STD], dtype=torch.float64).view(2, 3, 1, 1)
    return (pixels.double().permute(0, 3, 1, 2) / 255 - mean) / std


def relative_error(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())
