"""The card of an exported model: what a program must know to feed it and to read its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from segdino_deploy.atomic import sha256_of
from segdino_deploy.errors import InputError
from segdino_deploy.export.heads import HeadSource
from segdino_deploy.export.options import MAX_CLASSES, RESIZE_FILTER, ExportOptions
from segdino_deploy.manifest import BackboneCard, CheckpointCard, HeadCard, ModelCard
from segdino_deploy.model.segdino import SegDINO


def make_card(
    models: Mapping[str, SegDINO],
    sources: Mapping[str, HeadSource],
    options: ExportOptions,
    backbone_weights: Path | None = None,
) -> ModelCard:
    """The card of one model per head. InputError where class names do not fit or two heads have the same ones.

    One image feeds all heads, so it is resized as the first head was trained; each head keeps what its training used.
    """
    backbone = (None, None) if backbone_weights is None else (backbone_weights.name, sha256_of(backbone_weights))
    heads = [_head_card(name, model, sources[name], options, backbone) for name, model in models.items()]
    _require_distinct(heads)
    config = next(iter(models.values())).backbone.config
    return ModelCard(
        heads=heads,
        input_size=options.input_size,
        batch=options.batch,
        mean=options.mean,
        std=options.std,
        resize_filter=heads[0].resize_filter,
        backbone=BackboneCard(
            embed_dim=config.embed_dim,
            depth=config.depth,
            num_heads=config.num_heads,
            ffn=config.ffn,
            ffn_hidden_dim=config.ffn_hidden_dim,
            num_registers=config.num_registers,
        ),
    )


def _head_card(
    name: str, model: SegDINO, source: HeadSource, options: ExportOptions, backbone: tuple[str | None, str | None]
) -> HeadCard:
    if model.num_classes > MAX_CLASSES:
        raise InputError(f"{source.checkpoint}: {model.num_classes} classes; a uint8 mask holds {MAX_CLASSES} at most")
    return HeadCard(
        name=name,
        family=model.family,
        num_classes=model.num_classes,
        class_names=_class_names(name, source, model.num_classes),
        outputs=list(options.outputs),
        threshold=options.threshold,
        taps=model.taps,
        resize_filter=RESIZE_FILTER[model.family],
        checkpoint=CheckpointCard(
            name=source.checkpoint.name,
            sha256=sha256_of(source.checkpoint),
            backbone_weights_name=backbone[0],
            backbone_weights_sha256=backbone[1],
        ),
    )


def _class_names(head: str, source: HeadSource, num_classes: int) -> list[str]:
    names = source.class_names
    if names is None:
        return [head or "foreground"] if num_classes == 1 else [f"{head or 'class'}_{i}" for i in range(num_classes)]
    if len(names) != num_classes:
        whose = f"{source.checkpoint}" if head else "the checkpoint"
        raise InputError(f"--classes: {len(names)} names given, {whose} has {num_classes} classes")
    if len(set(names)) != len(names):
        raise InputError("--classes: each name once")
    return list(names)


def _require_distinct(heads: list[HeadCard]) -> None:
    """InputError for one checkpoint under two names, or one class name in two heads."""
    by_class: dict[str, str] = {}
    by_file: dict[str, str] = {}
    for head in heads:
        if head.checkpoint.sha256 in by_file:
            raise InputError(f"--head: {by_file[head.checkpoint.sha256]} and {head.name} are the same checkpoint")
        by_file[head.checkpoint.sha256] = head.name
        for name in head.class_names:
            if name in by_class:
                raise InputError(
                    f"--classes: {name!r} is a class of {by_class[name]} and of {head.name}; rename it in one of them"
                )
            by_class[name] = head.name
