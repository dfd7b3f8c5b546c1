"""Several heads on one backbone: their checkpoints, and the proof that their backbones are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from segdino_deploy.errors import InputError
from segdino_deploy.model.checkpoint import Checkpoint, assemble, read_checkpoint
from segdino_deploy.model.families import name_first
from segdino_deploy.model.segdino import SegDINO

UNUSED = ("mask_token", "local_cls_norm.")  # of a backbone: training has them, inference never reads them


def load_models(
    files: Mapping[str, Path],
    taps: Mapping[str, Sequence[int] | None],
    backbone_weights: str | Path | None = None,
) -> dict[str, SegDINO]:
    """One model per head name, all with the first one's backbone, in evaluation mode.

    `backbone_weights` is every head's backbone: then no file may have its own. Raises InputError: a file that does not
    load, files with and without a backbone, backbones that differ in a tensor that inference uses.
    """
    checkpoints = {name: read_checkpoint(path) for name, path in files.items()}
    _refuse_mixture(list(checkpoints.values()))
    models = {name: assemble(checkpoints[name], taps[name], backbone_weights) for name in files}
    first, *others = files
    last_block = max(max(model.taps) for model in models.values())
    for name in others:
        _require_same_backbone(models[first], models[name], (files[first], files[name]), last_block)
        models[name].backbone = models[first].backbone  # equal: kept in memory once
    return models


def _refuse_mixture(checkpoints: Sequence[Checkpoint]) -> None:
    whole = next((checkpoint.path for checkpoint in checkpoints if checkpoint.backbone), None)
    head_only = next((checkpoint.path for checkpoint in checkpoints if not checkpoint.backbone), None)
    if whole and head_only:
        raise InputError(
            f"{whole}: has its own backbone, {head_only} has none; give files that all have it, "
            "or heads only with --backbone-weights"
        )


def _require_same_backbone(first: SegDINO, other: SegDINO, files: tuple[Path, Path], last_block: int) -> None:
    """InputError that names both files and the first differing sizes or tensors."""
    sizes, wanted = asdict(other.backbone.config), asdict(first.backbone.config)
    wrong = [
        f"{key} {sizes[key]}, not {wanted[key]}"
        for key in sizes
        if sizes[key] != wanted[key] and key != "has_local_cls_norm"
    ]
    if not wrong:
        a, b = _inference_tensors(first, last_block), _inference_tensors(other, last_block)
        wrong = [f"backbone.{key}" for key in a if not torch.equal(a[key], b[key])]
    if wrong:
        raise InputError(
            f"{files[1]}: its backbone is not that of {files[0]} (differs in {name_first(wrong)}); "
            "heads share one backbone: export this one apart"
        )


def _inference_tensors(model: SegDINO, last_block: int) -> dict[str, Tensor]:
    """The backbone's tensors that the outputs of the blocks up to `last_block` depend on."""
    later = tuple(f"blocks.{index}." for index in range(last_block + 1, model.backbone.config.depth))
    return {key: t for key, t in model.backbone.state_dict().items() if not key.startswith((*UNUSED, *later))}
