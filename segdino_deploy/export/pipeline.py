"""The first half of the path: checkpoint -> faithful model -> folded module -> model.onnx, with proof, in a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
from numpy import float32, uint8
from numpy.typing import NDArray

from segdino_deploy import __version__
from segdino_deploy.atomic import sha256_of
from segdino_deploy.bundle import CANARY, Bundle, check_target
from segdino_deploy.canary import make_canary
from segdino_deploy.errors import InputError
from segdino_deploy.evidence import require
from segdino_deploy.export.graph import select_outputs, with_card
from segdino_deploy.export.options import MAX_CLASSES, RESIZE_FILTER, ExportOptions
from segdino_deploy.export.trace import trace
from segdino_deploy.export.verify import measure_parity
from segdino_deploy.manifest import BackboneCard, CheckpointCard, Manifest, ModelCard
from segdino_deploy.model.checkpoint import load_segdino
from segdino_deploy.model.reference import reference_logits
from segdino_deploy.model.segdino import SegDINO
from segdino_deploy.progress import OnStep, ignore
from segdino_deploy.receipts import typed_model_record

FP32_FILE = "model.onnx"


def export_model(
    checkpoint: str | Path,
    bundle: str | Path,
    options: ExportOptions = ExportOptions(),
    *,
    taps: Sequence[int] | None = None,
    backbone_weights: str | Path | None = None,
    on_step: OnStep = ignore,
) -> Bundle:
    """Exports a checkpoint into a bundle and proves the ONNX model equal to PyTorch.

    `on_step` is told what is being done. Raises InputError (checkpoint, options, place) or CheckFailed (parity, graph);
    in both cases nothing is written and an older bundle at this place stays as it was.
    """
    checkpoint, bundle = Path(checkpoint), Path(bundle)
    check_target(bundle)
    on_step("loading the checkpoint")
    model = load_segdino(checkpoint, taps=taps, backbone_weights=backbone_weights)
    card = make_card(model, checkpoint, options, None if backbone_weights is None else Path(backbone_weights))

    on_step("making the canary")

    def reference(images: NDArray[uint8]) -> NDArray[float32]:
        return reference_logits(model, images, card.mean, card.std)

    canary = make_canary(reference, card.input_size, card.batch.min, card.threshold)
    on_step("tracing to ONNX")
    full = trace_model(model, card)
    on_step("checking ONNX Runtime against PyTorch")
    records = [require(r) for r in measure_parity(full, "fp32", canary, card.threshold, reference, card.batch.max)]
    on_step("writing the bundle")
    deployed = with_card(select_outputs(full, card.outputs), card)
    record = typed_model_record(deployed, FP32_FILE, "fp32", parity=records)
    manifest = Manifest(tool_version=__version__, model=card, onnx={"fp32": record})
    files = {FP32_FILE: deployed.SerializeToString(deterministic=True), CANARY: canary.to_bytes()}
    return Bundle.create(bundle, manifest, files)


def trace_model(model: SegDINO, card: ModelCard) -> onnx.ModelProto:
    """The exported graph of a loaded model with all three outputs."""
    from segdino_deploy.export.fold import FoldedSegDINO

    folded = FoldedSegDINO(model, card.input_size, card.mean, card.std, card.threshold).eval()
    return trace(folded, card.batch)


def make_card(
    model: SegDINO, checkpoint: Path, options: ExportOptions, backbone_weights: Path | None = None
) -> ModelCard:
    """The model's card. InputError where the class names do not fit."""
    config = model.backbone.config
    if model.num_classes > MAX_CLASSES:
        raise InputError(f"{checkpoint}: {model.num_classes} classes; a uint8 mask holds {MAX_CLASSES} at most")
    weights_hash = None if backbone_weights is None else sha256_of(backbone_weights)
    return ModelCard(
        family=model.family,
        num_classes=model.num_classes,
        class_names=_class_names(options.class_names, model.num_classes),
        input_size=options.input_size,
        batch=options.batch,
        outputs=list(options.outputs),
        threshold=options.threshold,
        mean=options.mean,
        std=options.std,
        resize_filter=RESIZE_FILTER[model.family],
        taps=model.taps,
        backbone=BackboneCard(
            embed_dim=config.embed_dim,
            depth=config.depth,
            num_heads=config.num_heads,
            ffn=config.ffn,
            ffn_hidden_dim=config.ffn_hidden_dim,
            num_registers=config.num_registers,
        ),
        checkpoint=CheckpointCard(
            name=checkpoint.name,
            sha256=sha256_of(checkpoint),
            backbone_weights_name=None if backbone_weights is None else backbone_weights.name,
            backbone_weights_sha256=weights_hash,
        ),
    )


def _class_names(names: tuple[str, ...] | None, num_classes: int) -> list[str]:
    if names is None:
        return ["foreground"] if num_classes == 1 else [f"class_{index}" for index in range(num_classes)]
    if len(names) != num_classes:
        raise InputError(f"--classes: {len(names)} names given, the checkpoint has {num_classes} classes")
    if len(set(names)) != len(names):
        raise InputError("--classes: each name once")
    return list(names)
