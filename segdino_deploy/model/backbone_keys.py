"""Backbone weights in upstream's, transformers' or timm's naming, brought to upstream's names.

transformers and timm store no RoPE periods and recompute them in float32; so does this module
(periods = 100^(2i / (d/2)), i < d/4). Both leave the key bias out: upstream stores it with a mask of zeros.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from segdino_deploy.errors import InputError, one_line
from segdino_deploy.model.dinov3 import RopeEmbedding

TRANSFORMERS_BLOCK = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attention.o_proj": "attn.proj",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
}
# An MLP has up and down only; a SwiGLU has a gate too, and then `up` is its second factor.
TRANSFORMERS_FFN = {
    "mlp": {"up_proj": "fc1", "down_proj": "fc2"},
    "swiglu": {"gate_proj": "w1", "up_proj": "w2", "down_proj": "w3"},
}
TRANSFORMERS_STEM = {
    "embeddings.cls_token": "cls_token",
    "embeddings.register_tokens": "storage_tokens",
    "embeddings.mask_token": "mask_token",
    "embeddings.patch_embeddings.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.bias": "patch_embed.proj.bias",
    "norm.weight": "norm.weight",
    "norm.bias": "norm.bias",
}
TIMM_RENAMES = (
    (r"^reg_token$", "storage_tokens"),
    (r"\.gamma_([12])$", r".ls\1.gamma"),
    (r"\.mlp\.fc1_g\.", ".mlp.w1."),
    (r"\.mlp\.fc1_x\.", ".mlp.w2."),
)


def naming_of(keys: Mapping[str, Tensor]) -> str:
    """`upstream`, `transformers` or `timm`. InputError where it is none of them."""
    if any(key.endswith("embeddings.cls_token") for key in keys):
        return "transformers"
    if "cls_token" in keys and ("reg_token" in keys or any(key.endswith(".gamma_1") for key in keys)):
        return "timm"
    if "cls_token" in keys and any(key.startswith("blocks.0.") for key in keys):
        return "upstream"
    first = ", ".join(sorted(keys)[:3])
    raise InputError(f"not a DINOv3 backbone in upstream's, transformers' or timm's naming (first keys: {first})")


def to_upstream(state: Mapping[str, Tensor], path: Path) -> tuple[dict[str, Tensor], int | None]:
    """State dict under upstream's names, and the number of heads where the naming leaves it open.

    `path`: the file the state came from; a `config.json` beside it (transformers) gives the number of heads.
    """
    naming = naming_of(state)
    if naming == "upstream":
        return dict(state), None
    renamed = _from_transformers(state) if naming == "transformers" else _from_timm(state)
    embed_dim = renamed["cls_token"].shape[-1]
    renamed.setdefault("mask_token", torch.zeros(1, embed_dim))
    if renamed["mask_token"].ndim == 3:
        renamed["mask_token"] = renamed["mask_token"].squeeze(1)  # [1, 1, D] -> [1, D]
    num_heads = _num_heads(embed_dim, path)
    renamed["rope_embed.periods"] = RopeEmbedding(embed_dim // num_heads).periods
    return renamed, num_heads


def _num_heads(embed_dim: int, path: Path) -> int:
    config = path.with_name("config.json")
    if config.is_file():
        try:
            content = json.loads(config.read_text())
            heads = content.get("num_attention_heads") if content.get("hidden_size") == embed_dim else None
        except (OSError, ValueError, AttributeError) as error:
            raise InputError(f"cannot read {config}: {one_line(error)}") from error
        if isinstance(heads, int) and heads > 0 and embed_dim % (4 * heads) == 0:
            return heads
    head_dim = 128 if embed_dim == 4096 else 64  # released DINOv3: 64 everywhere, 128 in the 7B model
    if embed_dim % head_dim:
        raise InputError(
            f"cannot tell the number of attention heads of a width {embed_dim} backbone: "
            f"put the model's config.json beside {path.name}"
        )
    return embed_dim // head_dim


def _masked_bias(q_bias: Tensor, v_bias: Tensor) -> tuple[Tensor, Tensor]:
    zeros, ones = torch.zeros_like(q_bias), torch.ones_like(q_bias)
    return torch.cat([q_bias, zeros, v_bias]), torch.cat([ones, zeros, ones])


def _from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    stem_key = next(key for key in state if key.endswith("embeddings.cls_token"))
    prefix = stem_key.removesuffix("embeddings.cls_token")  # "" or the name of a wrapping model
    renamed: dict[str, Tensor] = {}
    ffn = "swiglu" if any(".gate_proj." in key for key in state) else "mlp"
    qkv: dict[tuple[str, str], dict[str, Tensor]] = {}
    for full_key, tensor in state.items():
        key = full_key.removeprefix(prefix)
        if key in TRANSFORMERS_STEM:
            renamed[TRANSFORMERS_STEM[key]] = tensor
            continue
        match = re.fullmatch(r"(?:model\.)?layer\.(\d+)\.(.+)", key)
        if match is None:
            if key.endswith("inv_freq"):
                continue  # recomputed buffer
            raise InputError(f"transformers backbone has an unknown key {full_key}")
        index, name = match.groups()
        part, _, kind = name.rpartition(".")
        if projection := re.fullmatch(r"attention\.([qkv])_proj", part):
            qkv.setdefault((index, kind), {})[projection.group(1)] = tensor
        elif name in TRANSFORMERS_BLOCK:
            renamed[f"blocks.{index}.{TRANSFORMERS_BLOCK[name]}"] = tensor
        elif part in TRANSFORMERS_BLOCK:
            renamed[f"blocks.{index}.{TRANSFORMERS_BLOCK[part]}.{kind}"] = tensor
        elif part.removeprefix("mlp.") in TRANSFORMERS_FFN[ffn]:
            renamed[f"blocks.{index}.mlp.{TRANSFORMERS_FFN[ffn][part.removeprefix('mlp.')]}.{kind}"] = tensor
        else:
            raise InputError(f"transformers backbone has an unknown key {full_key}")
    for (index, kind), parts in qkv.items():
        base = f"blocks.{index}.attn.qkv"
        missing = {"q", "v"} - parts.keys() if kind == "bias" else {"q", "k", "v"} - parts.keys()
        if missing:
            raise InputError(f"transformers backbone lacks layer.{index}.attention.{min(missing)}_proj.{kind}")
        if kind == "bias":
            if "k" in parts and bool(parts["k"].any()):
                raise InputError(f"layer.{index}.attention.k_proj.bias is not zero: DINOv3 keys have no bias")
            renamed[f"{base}.bias"], renamed[f"{base}.bias_mask"] = _masked_bias(parts["q"], parts["v"])
        else:
            renamed[f"{base}.weight"] = torch.cat([parts["q"], parts["k"], parts["v"]])
    return renamed


def _from_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    is_swiglu = any(".mlp.fc1_g." in key for key in state)
    renamed: dict[str, Tensor] = {}
    for old_key, tensor in state.items():
        key = old_key
        for pattern, replacement in TIMM_RENAMES:
            key = re.sub(pattern, replacement, key)
        if is_swiglu:
            key = key.replace(".mlp.fc2.", ".mlp.w3.")
        if key.endswith((".attn.q_bias", ".attn.k_bias", ".attn.v_bias")):
            base, _, name = key.rpartition(".")
            if name == "q_bias":
                v_bias = state.get(old_key.replace("q_bias", "v_bias"))
                if v_bias is None:
                    raise InputError(f"timm backbone lacks {old_key.replace('q_bias', 'v_bias')}")
                renamed[f"{base}.qkv.bias"], renamed[f"{base}.qkv.bias_mask"] = _masked_bias(tensor, v_bias)
        elif key != "rope.periods":
            renamed[key] = tensor
    return renamed
