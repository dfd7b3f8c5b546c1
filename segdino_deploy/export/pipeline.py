"""The first half of the path: checkpoint -> faithful model -> folded module -> model.onnx, with proof, in a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from numpy import float32, uint8
from numpy.typing import NDArray

from segdino_deploy import __version__
from segdino_deploy.bundle import CANARY, Bundle, check_target
from segdino_deploy.canary import make_canary
from segdino_deploy.errors import InputError
from segdino_deploy.evidence import require
from segdino_deploy.export.card import make_card
from segdino_deploy.export.fold import FoldedSegDINO, count_rewrites
from segdino_deploy.export.graph import select_outputs, with_card
from segdino_deploy.export.heads import HeadSource, check_head_name
from segdino_deploy.export.operations import count_stages
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.export.trace import trace_checked
from segdino_deploy.export.verify import measure_parity
from segdino_deploy.manifest import OUTPUTS, FoldingRecord, Manifest, ModelCard, output_name
from segdino_deploy.model.joint import load_models
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
    explain: bool = False,
) -> Bundle:
    """Exports a checkpoint into a bundle and proves the ONNX model equal to PyTorch.

    `on_step` is told what is being done; `explain` traces the plain model too, to count what folding saved. Raises
    InputError (checkpoint, options, place) or CheckFailed (parity, graph); in both cases nothing is written and an
    older bundle at this place stays as it was.
    """
    source = HeadSource(Path(checkpoint), options.class_names, None if taps is None else tuple(taps))
    return export_sources({"": source}, Path(bundle), options, backbone_weights, on_step, explain)


def export_heads(
    heads: Mapping[str, str | Path | HeadSource],
    bundle: str | Path,
    options: ExportOptions = ExportOptions(),
    *,
    backbone_weights: str | Path | None = None,
    on_step: OnStep = ignore,
    explain: bool = False,
) -> Bundle:
    """Exports several checkpoints that share their backbone as one model: `{"polyp": "a.pth", "lesion": "b.pth"}`.

    The outputs are `polyp.mask`, `lesion.mask` and so on; a `HeadSource` gives a head its own class names and taps.
    `options` hold for all heads, `backbone_weights` for heads whose files have no backbone. Raises as `export_model`,
    and InputError for head or class names that clash and for backbones that differ.
    """
    if not heads:
        raise InputError("export_heads: name at least one head")
    if options.class_names is not None:
        raise InputError("export_heads: class names belong to a head: HeadSource(checkpoint, class_names)")
    sources = {
        check_head_name(name): given if isinstance(given, HeadSource) else HeadSource(Path(given))
        for name, given in heads.items()
    }
    return export_sources(sources, Path(bundle), options, backbone_weights, on_step, explain)


def export_sources(
    sources: Mapping[str, HeadSource],
    bundle: Path,
    options: ExportOptions,
    backbone_weights: str | Path | None = None,
    on_step: OnStep = ignore,
    explain: bool = False,
) -> Bundle:
    """What `export_model` (one source, its name empty) and `export_heads` share.

    `explain`: also traces the plain model, so that the manifest says what folding saved.
    """
    check_target(bundle)
    on_step("loading the checkpoint" if len(sources) == 1 else "loading the checkpoints")
    files = {name: source.checkpoint for name, source in sources.items()}
    models = load_models(files, {name: source.taps for name, source in sources.items()}, backbone_weights)
    card = make_card(models, sources, options, None if backbone_weights is None else Path(backbone_weights))

    on_step("making the canary")

    def reference(images: NDArray[uint8]) -> dict[str, NDArray[float32]]:
        return reference_logits(models, images, card.mean, card.std)

    canary = make_canary(reference, card.input_size, card.batch.min, card.thresholds)
    on_step("tracing to ONNX")
    folded = fold_models(models, card)
    full = trace_models(folded, card)
    on_step("checking ONNX Runtime against PyTorch")
    records = [require(r) for r in measure_parity(full, "fp32", canary, card.thresholds, reference, card.batch.max)]
    deployed = with_card(select_outputs(full, card.output_names), card)
    folding = FoldingRecord(rewrites=count_rewrites(folded), after=count_stages(deployed))
    if explain:
        from segdino_deploy.export.plain import count_plain

        on_step("tracing the plain model to compare with")
        folding = folding.model_copy(update={"before": count_plain(models, card)})
    on_step("writing the bundle")
    record = typed_model_record(deployed, FP32_FILE, "fp32", parity=records)
    manifest = Manifest(tool_version=__version__, model=card, folding=folding, onnx={"fp32": record})
    content = {FP32_FILE: deployed.SerializeToString(deterministic=True), CANARY: canary.to_bytes()}
    return Bundle.create(bundle, manifest, content)


def fold_models(models: Mapping[str, SegDINO], card: ModelCard) -> FoldedSegDINO:
    """The folded module of loaded models, by head name."""
    return FoldedSegDINO(models, card.input_size, card.mean, card.std, card.thresholds).eval()


def trace_models(folded: FoldedSegDINO, card: ModelCard) -> onnx.ModelProto:
    """The exported graph with all three outputs of each head."""
    names = [output_name(head.name, kind) for head in card.heads for kind in OUTPUTS]
    return trace_checked(folded, card.input_size, card.batch, names)
