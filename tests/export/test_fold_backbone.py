"""The folded backbone computes what the faithful one computes, in float64 to rounding."""

from __future__ import annotations

import torch

from segdino_deploy.export.fold import FoldedBackbone
from segdino_deploy.model.dinov3 import DinoVisionTransformer, ViTConfig

MEAN, STD = (0.43, 0.411, 0.296), (0.213, 0.156, 0.143)


def random_backbone(config: ViTConfig) -> DinoVisionTransformer:
    torch.manual_seed(0)
    backbone = DinoVisionTransformer(config).double().eval()
    for parameter in backbone.parameters():
        parameter.data = 0.3 * torch.randn_like(parameter)
    return backbone


def relative_error(config: ViTConfig, height: int, width: int) -> float:
    backbone = random_backbone(config)
    pixels = torch.randint(0, 256, (2, 3, height, width)).double()
    mean, std = torch.tensor([MEAN, STD], dtype=torch.float64).view(2, 3, 1, 1)
    image = (pixels / 255 - mean) / std
    folded = FoldedBackbone(backbone, (1, 2), (height, width), MEAN, STD)
    with torch.no_grad():
        expected = torch.stack(backbone.get_intermediate_layers(image, (1, 2)))
        found = torch.stack(folded(pixels))
    return float((found - expected).abs().max() / expected.abs().max())


def test_mlp_backbone_on_a_wide_grid() -> None:
    assert relative_error(ViTConfig(24, 3, 2, "mlp", 40), 48, 80) < 1e-10


def test_swiglu_backbone_on_a_tall_grid_with_a_head_dimension_that_is_no_power_of_four() -> None:
    assert relative_error(ViTConfig(40, 3, 1, "swiglu", 24, num_registers=2), 96, 16) < 1e-10


def test_backbone_without_qkv_bias_and_registers() -> None:
    assert relative_error(ViTConfig(32, 3, 2, "swiglu", 24, num_registers=0, qkv_bias=False), 32, 32) < 1e-10


def test_folding_leaves_the_faithful_backbone_untouched() -> None:
    backbone = random_backbone(ViTConfig(24, 3, 2, "mlp", 40))
    before = {key: value.clone() for key, value in backbone.state_dict().items()}

    FoldedBackbone(backbone, (0, 2), (32, 32), MEAN, STD)

    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
