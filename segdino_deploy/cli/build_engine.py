"""`segdino-deploy build-engine`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segdino_deploy.cli.arguments import BundleArgument, JsonOption, bundle_path
from segdino_deploy.cli.console import Progress, print_json, print_line
from segdino_deploy.errors import InputError


def command(
    bundle: BundleArgument = None,
    fp32: Annotated[bool, typer.Option("--fp32", help="32-bit floating point.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="16-bit floating point.")] = False,
    bf16: Annotated[bool, typer.Option("--bf16", help="bfloat16.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="8-bit weight products; needs --calibration once.")] = False,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            metavar="B",
            help="openvino, onnxruntime, tensorrt-rtx or tensorrt; may be repeated. "
            "Default: tensorrt where it is installed with a GPU, else openvino, else onnxruntime.",
        ),
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of images, or a data set folder, for int8.")
    ] = None,
    lowering: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Spelling of parts of the graph: auto (measured while building, the default), none, or names.",
        ),
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML file with these options; the line wins.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Build engines in one or more precisions.

    Each engine is checked on the canary where this machine can run it.
    """
    from segdino_deploy.bundle import Bundle
    from segdino_deploy.engines.build import BuildOptions, build_engine, choose_backend
    from segdino_deploy.engines.lowering.choose import parse_lowering
    from segdino_deploy.manifest import PRECISIONS
    from segdino_deploy.recipes import BuildRecipe, read_recipe

    base = BuildRecipe() if recipe is None else read_recipe(recipe, BuildRecipe)
    flags = {"fp32": fp32, "fp16": fp16, "bf16": bf16, "int8": int8}
    precisions = [precision for precision in PRECISIONS if flags[precision]] or base.precisions
    if not precisions:
        raise InputError("name a precision: --fp32, --fp16, --bf16 or --int8")
    spellings = parse_lowering(base.lowering if lowering is None else lowering)
    opened = Bundle.open(bundle_path(bundle))
    built = []
    for precision in precisions:
        names = backend or base.backends
        if not names:
            chosen, reason = choose_backend()
            names = [chosen]
            if not as_json:
                print_line(f"backend {chosen}: {reason}")
        for name in names:
            with Progress() as progress:
                options = BuildOptions(precision, name, calibration or base.calibration, spellings)
                engine = build_engine(opened, options, on_step=progress.step, on_image=progress.images)
            built.append(engine)
            if not as_json:
                print_line(f"{opened.path / engine.file}: {describe(engine)}")
    if as_json:
        print_json([engine.model_dump(mode="json") for engine in built])


def describe(engine: object) -> str:
    """One line: what runs in which type, and what the canary said."""
    from segdino_deploy.engines.lowering.choose import AS_EXPORTED
    from segdino_deploy.manifest import Engine

    assert isinstance(engine, Engine)
    inside = f"computes in {engine.inference_precision}, " if engine.inference_precision else ""
    note = engine.receipt.get("note")
    inside += f"{note}, " if note else ""
    spelled = [record.chosen for record in engine.lowering if record.chosen != AS_EXPORTED]
    inside += f"respelled {', '.join(spelled)}, " if spelled else ""
    if engine.canary is None:
        return f"{inside}canary not run: this machine cannot run {engine.backend} engines"
    records = engine.canary.heads or [engine.canary]
    shares = ", ".join(f"{record.head} {100 * record.mask_agreement:.3f}%".lstrip() for record in records)
    agreement = f"same class in {shares} of the canary's pixels"
    return f"{inside}canary passed, {agreement}"
