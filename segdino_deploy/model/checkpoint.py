"""From a checkpoint file to a `SegDINO` in evaluation mode: safe reading, unwrapping, strict loading."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segdino_deploy.errors import InputError, one_line
from segdino_deploy.model.backbone_keys import to_upstream
from segdino_deploy.model.families import (
    Family,
    default_taps,
    describe_nearest,
    detect_family,
    infer_head,
    infer_vit,
)
from segdino_deploy.model.segdino import SegDINO

WRAPPER_KEYS = ("state_dict", "model", "model_state_dict", "ema")  # where training scripts keep the tensors
PARTS = ("backbone", "head", "decoder")
HEAD_MARKS = {"token_projections.": "decoder.", "projects.": "head.", "rsz1.": "head."}  # of unprefixed head files
PICKLE_START = b"\x80"  # a pickle that is not in PyTorch's zip
CONVERT_HINT = (
    'if you trust its origin, keep the tensors only: python -c "import torch; '
    "torch.save(torch.load('FILE', weights_only=False)['state_dict'], 'clean.pth')\""
)


@dataclass(frozen=True)
class Checkpoint:
    """Tensors of one file, float32, without wrapper and prefixes, split into backbone and head (with its prefix)."""

    path: Path
    backbone: dict[str, Tensor]
    head: dict[str, Tensor]


def read_tensors(path: Path) -> dict[str, Any]:
    """The mapping a `.pth` or `.safetensors` file holds. Nothing in the file is executed.

    Raises InputError: no such file, not a checkpoint, truncated, or a pickle that needs code to load.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file" if not path.exists() else f"{path}: is a directory, not a checkpoint")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols: what matters comes as an error
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"(?:GLOBAL|global:?) ([\w.]+)", str(error))
        name = found.group(1) if found and "nsupported" in str(error) else "more"
        if found or path.read_bytes()[:1] == PICKLE_START:
            raise InputError(f"{path}: refused, its pickle needs {name}, not tensors only; {CONVERT_HINT}") from error
        raise InputError(f"{path}: not a PyTorch checkpoint") from error
    except Exception as error:  # zip, header and end-of-file errors have no common class
        raise InputError(f"{path}: truncated, or not a checkpoint ({_reason(error)})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, a state dict was expected")
    return content


def _reason(error: BaseException) -> str:
    return one_line(error, limit=110)


def unwrap(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The state dict inside the wrappers seen in the wild, `module.` prefixes removed, floats as float32."""
    for key in WRAPPER_KEYS:
        if isinstance(content.get(key), dict):
            return unwrap(content[key], path)
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if key in PARTS and isinstance(value, dict):
            flat.update({f"{key}.{name}": tensor for name, tensor in value.items()})
        else:
            flat[key] = value
    tensors = {
        re.sub(r"^(?:module\.|_orig_mod\.)+", "", key): value
        for key, value in flat.items()
        if isinstance(value, Tensor) and isinstance(key, str)
    }
    if not tensors:
        raise InputError(f"{path}: holds no tensors (keys: {', '.join(map(str, list(content)[:5]))})")
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{path}: {key} holds NaN or infinity; the training run or the file is damaged")
    return {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads, unwraps and splits a checkpoint. InputError as `read_tensors`, and for tensors that are not finite."""
    state = unwrap(read_tensors(path), path)
    if not any(key.startswith(tuple(f"{part}." for part in PARTS)) for key in state):
        mark = next((m for m in HEAD_MARKS if any(key.startswith(m) for key in state)), None)
        if mark:  # the state dict of the head module alone
            state = {HEAD_MARKS[mark] + key: tensor for key, tensor in state.items()}
        elif any(key.endswith("cls_token") for key in state):
            raise InputError(f"{path}: is a backbone without a SegDINO head; give it as --backbone-weights")
    backbone = {k.removeprefix("backbone."): t for k, t in state.items() if k.startswith("backbone.")}
    head = {k: t for k, t in state.items() if not k.startswith("backbone.")}
    return Checkpoint(path, backbone, head)


def load_segdino(
    path: str | Path,
    *,
    taps: Sequence[int] | None = None,
    backbone_weights: str | Path | None = None,
    map_location: str | torch.device = "cpu",
) -> SegDINO:
    """Loads any SegDINO checkpoint strictly and returns the faithful model in evaluation mode.

    `taps`: four 0-based block indices, where upstream's default for the depth is not what was trained.
    `backbone_weights`: the backbone's own file (upstream's, transformers' or timm's naming) for head-only checkpoints.
    Raises InputError, one line, for whatever does not fit exactly.
    """
    return assemble(read_checkpoint(Path(path)), taps, backbone_weights).to(map_location)


def assemble(
    checkpoint: Checkpoint, taps: Sequence[int] | None = None, backbone_weights: str | Path | None = None
) -> SegDINO:
    """The model of a checkpoint that was read: `load_segdino` without the reading."""
    path = checkpoint.path
    num_heads = None
    backbone = checkpoint.backbone
    if backbone_weights is not None:
        if backbone:
            raise InputError(f"{path}: has its own backbone; leave out --backbone-weights {backbone_weights}")
        backbone, num_heads = _read_backbone(Path(backbone_weights))
    try:
        family = detect_family(checkpoint.head)
        if not backbone:
            raise InputError("holds a head only: give the backbone's file with --backbone-weights")
        vit = infer_vit(backbone, num_heads)
        chosen = check_taps(default_taps(vit.depth) if taps is None else tuple(taps), vit.depth)
        head = {key.removeprefix(family.prefix): tensor for key, tensor in checkpoint.head.items()}
        head_config = infer_head(family, head, vit.embed_dim)
        with torch.device("meta"):
            model = SegDINO(vit, head_config, chosen)
        load_strictly(model.backbone, backbone, "backbone.", None)
        load_strictly(model.head, head, family.prefix, family)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return model.eval().requires_grad_(False)


def _read_backbone(path: Path) -> tuple[dict[str, Tensor], int | None]:
    state = unwrap(read_tensors(path), path)
    if any(key.startswith("backbone.") for key in state):
        state = {k.removeprefix("backbone."): t for k, t in state.items() if k.startswith("backbone.")}
    try:
        return to_upstream(state, path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def check_taps(taps: Sequence[int], depth: int) -> tuple[int, ...]:
    """Four increasing block indices below `depth`, or InputError."""
    if len(taps) != 4 or any(b <= a for a, b in pairwise(taps)):
        raise InputError(f"taps {','.join(map(str, taps))}: four increasing block indices are needed")
    if taps[0] < 0 or taps[-1] >= depth:
        raise InputError(f"taps {','.join(map(str, taps))}: the backbone has blocks 0 to {depth - 1}")
    return tuple(taps)


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], prefix: str, family: Family | None) -> None:
    """Assigns `state` to `module` (which may be on the meta device). InputError on the first difference, by name."""
    expected = module.state_dict()
    for key, tensor in expected.items():
        if key in state and state[key].shape != tensor.shape:
            found, wanted = list(state[key].shape), list(tensor.shape)
            raise InputError(f"{prefix}{key} has shape {found}, {wanted} was expected from the other tensors")
    if expected.keys() != state.keys():
        if family is not None:
            raise InputError("does not load strictly: " + describe_nearest({_full(prefix, key) for key in state}))
        missing, extra = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
        raise InputError(
            f"does not load strictly: lacks {prefix}{missing[0]}" if missing else f"has unknown {prefix}{extra[0]}"
        )
    module.load_state_dict(dict(state), strict=True, assign=True)


def _full(prefix: str, key: str) -> str:
    return key if key.startswith(("head.", "decoder.")) else prefix + key
