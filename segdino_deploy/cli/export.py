"""`segdino-deploy export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segdino_deploy.cli.arguments import JsonOption, parse_integers
from segdino_deploy.cli.console import Progress, print_json, print_line
from segdino_deploy.cli.folding import print_folding


def command(
    checkpoint: Annotated[
        Path | None, typer.Argument(help="SegDINO checkpoint of any family: .pth or .safetensors.")
    ] = None,
    head: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PATH", help="Instead of CHECKPOINT, once per head: heads that share a backbone."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="BUNDLE", help="Default: CHECKPOINT's or the heads' names, .segdino."),
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
    classes: Annotated[
        list[str] | None,
        typer.Option(metavar="A,B,C", help="Names of the classes, in order; with --head HEAD=A,B,C, once per head."),
    ] = None,
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
    explain: Annotated[
        bool, typer.Option("--explain", help="Show what was rewritten and what it saves; traces the plain model too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Trace a checkpoint, or several heads on one backbone, to ONNX, with proof, into a bundle.

    The ONNX model is checked against PyTorch before anything is written.
    """
    from segdino_deploy.bundle import is_bundle
    from segdino_deploy.export.heads import choose_sources
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
    sources = choose_sources(
        checkpoint, head or base.head_lines, classes or base.class_lines, parse_integers("--taps", taps or base.taps)
    )
    chosen_threshold = threshold if threshold is not None else base.threshold
    defaults = ExportOptions()
    options = ExportOptions(
        input_size=parse_size(size or base.size or "256"),
        batch=parse_batch(batch or base.batch or "1"),
        outputs=parse_outputs(outputs or base.outputs or "mask"),
        threshold=defaults.threshold if chosen_threshold is None else chosen_threshold,
        mean=parse_triple("--mean", mean or base.mean) or defaults.mean,
        std=parse_triple("--std", std or base.std) or defaults.std,
    )
    for module in ("torch", "onnxscript", "onnxsim"):
        require_module(module, "exporting", extra="export")
    from segdino_deploy.export.pipeline import export_sources

    bundle_path = output or Path(("-".join(sources) or sources[""].checkpoint.stem) + ".segdino")
    replaces = is_bundle(bundle_path)
    with Progress() as progress:
        bundle = export_sources(sources, bundle_path, options, backbone_weights, progress.step, explain)
    manifest = bundle.manifest
    if as_json:
        print_json({"bundle": str(bundle_path), **manifest.model_dump(mode="json")})
        return
    card, record = manifest.model, manifest.onnx["fp32"]
    height, width = card.input_size
    heads = ", ".join(f"{_whose(h.name)}{h.family}, {h.num_classes} class(es)" for h in card.heads)
    print_line(f"{bundle_path}: {heads}, {height}x{width}, {record.nodes} nodes")
    for parity in record.parity:
        print_line(
            f"  {_whose(parity.head)}ONNX Runtime against PyTorch, {parity.images} images: relative error "
            f"{parity.relative_error:.1e} (allowed {parity.tolerance:.0e}), same class in "
            f"{100 * parity.mask_agreement:.3f}% of pixels"
        )
    if replaces:
        print_line("note: replaced an earlier bundle with all its engines and typed models; build them again")
    if explain and manifest.folding is not None:
        print_folding(manifest.folding)
    other = [f"{h.name} with {h.resize_filter}" for h in card.heads if h.resize_filter != card.resize_filter]
    if other:
        print_line(
            f"note: images are resized {card.resize_filter}, as {card.heads[0].name} was trained; "
            f"{', '.join(other)}: masks may differ a little from those of its own export"
        )
    print_line(f"next: segdino-deploy build-engine {bundle_path} --fp16")


def _whose(head: str) -> str:
    return f"{head}: " if head else ""
