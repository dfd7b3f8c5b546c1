"""`segdino-deploy export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segdino_deploy.cli.arguments import JsonOption, parse_integers
from segdino_deploy.cli.console import Progress, print_json, print_line


def command(
    checkpoint: Annotated[Path, typer.Argument(help="SegDINO checkpoint of any family: .pth or .safetensors.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="BUNDLE", help="Default: CHECKPOINT's name with .segdino.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="HxW|S", help="Input size, multiples of 16. Default: 256.")
    ] = None,
    batch: Annotated[
        str | None, typer.Option(metavar="N|MIN:OPT:MAX", help="Fixed or dynamic batch. Default: 1.")
    ] = None,
    outputs: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Of mask,probability,logits. Default: mask.")
    ] = None,
    classes: Annotated[str | None, typer.Option(metavar="A,B,C", help="Names of the classes, in order.")] = None,
    threshold: Annotated[
        float | None, typer.Option(metavar="T", help="Probability of a one-class mask. Default: 0.5.")
    ] = None,
    backbone_weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The backbone of a head-only checkpoint (upstream's, transformers' or timm's)."
        ),
    ] = None,
    taps: Annotated[
        str | None, typer.Option(metavar="I,J,K,L", help="Blocks that feed the head, 0-based. Default: upstream's.")
    ] = None,
    mean: Annotated[str | None, typer.Option(metavar="R,G,B", help="Normalisation. Default: ImageNet's.")] = None,
    std: Annotated[str | None, typer.Option(metavar="R,G,B", help="Normalisation. Default: ImageNet's.")] = None,
    recipe: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML file with these options; the line wins.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Trace a checkpoint to ONNX, with proof, into a bundle.

    The ONNX model is checked against PyTorch before anything is written.
    """
    from segdino_deploy.export.options import (
        ExportOptions,
        parse_batch,
        parse_outputs,
        parse_size,
        parse_triple,
    )
    from segdino_deploy.recipes import ExportRecipe, read_recipe
    from segdino_deploy.requirements import require_module

    base = ExportRecipe() if recipe is None else read_recipe(recipe, ExportRecipe)
    names = classes or base.classes
    chosen_threshold = threshold if threshold is not None else base.threshold
    defaults = ExportOptions()
    options = ExportOptions(
        input_size=parse_size(size or base.size or "256"),
        batch=parse_batch(batch or base.batch or "1"),
        outputs=parse_outputs(outputs or base.outputs or "mask"),
        class_names=tuple(name.strip() for name in names.split(",")) if names else None,
        threshold=defaults.threshold if chosen_threshold is None else chosen_threshold,
        mean=parse_triple("--mean", mean or base.mean) or defaults.mean,
        std=parse_triple("--std", std or base.std) or defaults.std,
    )
    for module in ("torch", "onnxscript", "onnxsim"):
        require_module(module, "exporting", extra="export")
    from segdino_deploy.export.pipeline import export_model

    bundle_path = output or Path(checkpoint.name).with_suffix(".segdino")
    with Progress() as progress:
        bundle = export_model(
            checkpoint,
            bundle_path,
            options,
            taps=parse_integers("--taps", taps or base.taps),
            backbone_weights=backbone_weights,
            on_step=progress.step,
        )
    manifest = bundle.manifest
    if as_json:
        print_json({"bundle": str(bundle_path), **manifest.model_dump(mode="json")})
        return
    card, record = manifest.model, manifest.onnx["fp32"]
    height, width = card.input_size
    print_line(f"{bundle_path}: {card.family}, {card.num_classes} class(es), {height}x{width}, {record.nodes} nodes")
    for parity in record.parity:
        print_line(
            f"  ONNX Runtime against PyTorch, {parity.images} images: relative error {parity.relative_error:.1e} "
            f"(allowed {parity.tolerance:.0e}), same class in {100 * parity.mask_agreement:.3f}% of pixels"
        )
    print_line(f"next: segdino-deploy build-engine {bundle_path} --fp16")
