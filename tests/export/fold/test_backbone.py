"""The folded backbone computes what the faithful one computes, up to the final norm's affine, in float64."""

from __future__ import annotations

from torch import nn

from segdino_deploy.export.fold.backbone import FoldedBackbone, fold_input_scaling
from segdino_deploy.model.dinov3 import DinoVisionTransformer, ViTConfig
from tests.export.fold.random_models import (
    MEAN,
    STD,
    TOLERANCE,
    normalised,
    random_pixels,
    randomised,
)
from tests.export.fold.random_models import relative_error as error_of


def relative_error(config: ViTConfig, height: int, width: int) -> float:
    backbone = randomised(DinoVisionTransformer(config))
    pixels = random_pixels(2, height, width)
    folded = FoldedBackbone(backbone, (1, 2), (height, width), MEAN, STD)
    expected = backbone.get_intermediate_layers(normalised(pixels), (1, 2))
    found = folded(pixels.double().permute(0, 3, 1, 2))
    norm = backbone.norm  # whose affine the heads apply
    return max(error_of(f * norm.weight + norm.bias, e) for f, e in zip(found, expected, strict=True))


def test_pixels_go_into_the_patch_embedding_as_they_are() -> None:
    patch = randomised(nn.Conv2d(3, 8, 16, stride=16))
    pixels = random_pixels(2, 32, 48)

    found = fold_input_scaling(patch, MEAN, STD)(pixels.double().permute(0, 3, 1, 2))

    assert error_of(found, patch(normalised(pixels))) < TOLERANCE


def test_mlp_backbone_on_a_wide_grid() -> None:
    assert relative_error(ViTConfig(24, 3, 2, "mlp", 40), 48, 80) < TOLERANCE


def test_swiglu_backbone_on_a_tall_grid_with_a_head_dimension_that_is_no_power_of_four() -> None:
    assert relative_error(ViTConfig(40, 3, 1, "swiglu", 24, num_registers=2), 96, 16) < TOLERANCE


def test_backbone_without_qkv_bias_and_registers() -> None:
    assert relative_error(ViTConfig(32, 3, 2, "swiglu", 24, num_registers=0, qkv_bias=False), 32, 32) < TOLERANCE
