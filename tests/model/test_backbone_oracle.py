"""The backbone against transformers' own DINOv3, with weights in transformers' and timm's naming."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import DINOv3ViTConfig, DINOv3ViTModel

from segdino_deploy import load_segdino
from segdino_deploy.errors import InputError
from segdino_deploy.model.backbone_keys import to_upstream
from segdino_deploy.model.checkpoint import load_strictly
from segdino_deploy.model.dinov3 import DinoVisionTransformer
from segdino_deploy.model.families import infer_vit
from tests.conftest import GOLDEN


def make_oracle(use_gated_mlp: bool, query_bias: bool = True) -> DINOv3ViTModel:
    config = DINOv3ViTConfig(
        hidden_size=32,
        num_hidden_layers=12,
        num_attention_heads=2,
        intermediate_size=48,
        num_register_tokens=4,
        use_gated_mlp=use_gated_mlp,
        hidden_act="silu" if use_gated_mlp else "gelu",
        query_bias=query_bias,
        key_bias=False,
        value_bias=query_bias,
        layerscale_value=0.7,
    )
    torch.manual_seed(3)
    oracle = DINOv3ViTModel(config).eval()
    with torch.no_grad():
        for name, parameter in oracle.named_parameters():
            if "norm" in name or "bias" in name or "token" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
            elif "lambda" not in name:
                parameter.copy_(0.2 * torch.randn_like(parameter))
    return oracle


def ours_from(state: dict[str, Tensor], path: Path) -> DinoVisionTransformer:
    renamed, num_heads = to_upstream(state, path)
    backbone = DinoVisionTransformer(infer_vit(renamed, num_heads))
    load_strictly(backbone, renamed, "backbone.", None)
    return backbone.eval()


def write_config(directory: Path) -> Path:
    (directory / "config.json").write_text(json.dumps({"hidden_size": 32, "num_attention_heads": 2}))
    return directory / "model.safetensors"


@pytest.mark.parametrize("query_bias", [True, False])
@pytest.mark.parametrize("use_gated_mlp", [False, True])
def test_backbone_agrees_with_transformers(use_gated_mlp: bool, query_bias: bool, tmp_path: Path) -> None:
    oracle = make_oracle(use_gated_mlp, query_bias)
    ours = ours_from(dict(oracle.state_dict()), write_config(tmp_path))
    image = torch.randn(2, 3, 64, 96)

    with torch.no_grad():
        expected = oracle(image).last_hidden_state[:, 5:]  # class token and four registers come first
        found = ours.get_intermediate_layers(image, [11])[0]

    assert ours.config.ffn == ("swiglu" if use_gated_mlp else "mlp")
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def to_timm(state: dict[str, Tensor], is_swiglu: bool) -> dict[str, Tensor]:
    """Upstream's names to timm's, by the table of public key names."""
    renamed: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if key in ("mask_token", "rope_embed.periods") or key.endswith("bias_mask"):
            continue
        new = re.sub(r"\.ls([12])\.gamma$", r".gamma_\1", key).replace("storage_tokens", "reg_token")
        if is_swiglu:
            new = new.replace("mlp.w1", "mlp.fc1_g").replace("mlp.w2", "mlp.fc1_x").replace("mlp.w3", "mlp.fc2")
        if new.endswith("attn.qkv.bias"):
            q, _, v = tensor.chunk(3)
            base = new.removesuffix("qkv.bias")
            renamed[f"{base}q_bias"], renamed[f"{base}v_bias"] = q, v
        else:
            renamed[new] = tensor
    return renamed


@pytest.mark.parametrize("use_gated_mlp", [False, True])
def test_timm_naming_gives_the_same_backbone(use_gated_mlp: bool, tmp_path: Path) -> None:
    oracle = make_oracle(use_gated_mlp)
    path = write_config(tmp_path)
    ours = ours_from(dict(oracle.state_dict()), path)

    from_timm = ours_from(to_timm(ours.state_dict(), use_gated_mlp), path)

    image = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        torch.testing.assert_close(
            from_timm.get_intermediate_layers(image, [11])[0], ours.get_intermediate_layers(image, [11])[0]
        )


def test_head_only_checkpoint_takes_a_transformers_backbone(tmp_path: Path) -> None:
    oracle = make_oracle(use_gated_mlp=False)
    weights = write_config(tmp_path)
    save_file({key: value.contiguous() for key, value in oracle.state_dict().items()}, weights)
    whole = torch.load(GOLDEN / "v1_convt.pth", weights_only=True)["state_dict"]
    head = tmp_path / "head.pth"
    torch.save({key: value for key, value in whole.items() if key.startswith("head.")}, head)

    model = load_segdino(head, backbone_weights=weights)

    assert model.family == "v1_convt"
    torch.testing.assert_close(
        model.backbone.blocks[3].mlp.fc1.weight, oracle.state_dict()["model.layer.3.mlp.up_proj.weight"]
    )


def test_width_that_does_not_tell_the_heads_asks_for_the_config(tmp_path: Path) -> None:
    oracle = make_oracle(use_gated_mlp=False)

    with pytest.raises(InputError, match=r"number of attention heads.*config\.json"):
        to_upstream(dict(oracle.state_dict()), tmp_path / "model.safetensors")
