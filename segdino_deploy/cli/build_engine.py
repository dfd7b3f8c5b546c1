"""`segdino-deploy build-engine`."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from segdino_deploy.cli.arguments import (
    BundleArgument,
    ForegroundOption,
    HeadOption,
    ImageDirOption,
    JsonOption,
    MaskDirOption,
    bundle_path,
    parse_integers,
    split_names,
)
from segdino_deploy.cli.console import Progress, print_json, print_line, print_table
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
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Images for int8: a folder, a data set folder, a .txt list or a calibration.json. "
            "For fp16 and bf16: what leaves their range on these images stays in fp32.",
        ),
    ] = None,
    calibration_method: Annotated[
        str | None, typer.Option(metavar="M", help="Ranges by minmax (default), percentile, entropy or mse.")
    ] = None,
    calibration_images: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="At most so many of them, drawn with --seed.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Which ones --calibration-images draws. Default: 0.")] = None,
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave out calibration images that cannot be read.")
    ] = False,
    max_drop: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Search the fastest int8 plan that loses at most P on --data: Dice points (0.01) where it has masks, "
            "else percent of pixels that change class.",
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Held-out images for --max-drop, with masks or without.")
    ] = None,
    foreground: ForegroundOption = None,
    image_dir: ImageDirOption = "image",
    mask_dir: MaskDirOption = "mask",
    head: HeadOption = None,
    fp32_groups: Annotated[
        str | None,
        typer.Option(
            metavar="G,H",
            help="Exactly the groups that int8 leaves in fp32, such as blocks.1.values; '' for none. "
            "Default: the products of probabilities and values in attention.",
        ),
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
    from segdino_deploy.engines.build import build_engine, choose_backend
    from segdino_deploy.engines.precision.budget.options import Budget, HeldOutOptions
    from segdino_deploy.engines.precision.budget.plan import BudgetMissed
    from segdino_deploy.engines.precision.budget.record import read_search
    from segdino_deploy.manifest import PRECISIONS, Engine
    from segdino_deploy.recipes import BuildRecipe, read_recipe

    base = BuildRecipe() if recipe is None else read_recipe(recipe, BuildRecipe)
    flags = {"fp32": fp32, "fp16": fp16, "bf16": bf16, "int8": int8}
    precisions = [precision for precision in PRECISIONS if flags[precision]] or base.precisions
    if not precisions:
        raise InputError("name a precision: --fp32, --fp16, --bf16 or --int8")
    held_out = HeldOutOptions(data or Path(), image_dir, mask_dir, parse_integers("--foreground", foreground), head)
    if max_drop is not None and "int8" not in precisions:
        raise InputError("--max-drop: is for --int8; other precisions have nothing to choose")
    if max_drop is not None and not (math.isfinite(max_drop) and max_drop >= 0):
        raise InputError(f"--max-drop: {max_drop:g} is not a number of percent from 0 on")
    if max_drop is not None and data is None:
        raise InputError("--max-drop: needs held-out images to measure the drop on: name them with --data DIR")
    if max_drop is None and data is not None:
        raise InputError("--data: is what --max-drop measures on: say how much may be lost with --max-drop P")
    only_with_data = {"--foreground": foreground, "--head": head, "--mask-dir": mask_dir != "mask" or None}
    for option, value in only_with_data.items():
        if value is not None and max_drop is None:
            raise InputError(f"{option}: is about the masks of --data: say how much may be lost with --max-drop P")
    if max_drop is not None and (fp32_groups is not None or base.fp32_groups is not None):
        raise InputError("--fp32-groups: --max-drop finds them: leave out one of the two (the recipe may name some)")
    given = {
        "lowering": lowering,
        "calibration_method": calibration_method,
        "calibration_images": calibration_images,
        "seed": seed,
        "fp32_groups": None if fp32_groups is None else split_names(fp32_groups),
    }
    base = base.model_copy(update={name: value for name, value in given.items() if value is not None})
    opened = Bundle.open(bundle_path(bundle))
    built: list[Engine] = []
    for precision in precisions:
        names = backend or base.backends
        if not names:
            chosen, reason = choose_backend()
            names = [chosen]
            if not as_json:
                print_line(f"backend {chosen}: {reason}")
        budget = Budget(max_drop, held_out) if max_drop is not None and precision == "int8" else None
        options = replace(base.options(precision, None, calibration), image_dir=image_dir)
        for name in names:
            with Progress() as progress:
                try:
                    engine = build_engine(
                        opened,
                        replace(options, backend=name, budget=budget, skip_unreadable=skip_unreadable),
                        on_step=progress.step,
                        on_count=progress.count,
                        on_note=progress.note,
                    )
                except BudgetMissed as missed:
                    if as_json:
                        engines = [engine.model_dump(mode="json") for engine in built]
                        print_json({"engines": engines, "missed": missed.search.model_dump(mode="json")})
                    else:
                        print_search(missed.search)
                    raise
            if budget is not None and not as_json:
                print_search(read_search(opened, f"{name}-int8"))
            built.append(engine)
            if not as_json:
                print_line(f"{opened.path / engine.file}: {describe(engine)}")
    if as_json:
        print_json([engine.model_dump(mode="json") for engine in built])


def print_search(result: object) -> None:
    """The table of a search for an int8 plan."""
    from segdino_deploy.engines.precision.budget.record import SearchResult
    from segdino_deploy.engines.precision.budget.report import COLUMNS, rows

    assert isinstance(result, SearchResult)
    print_line(
        f"int8 for {result.backend}, at most {result.max_drop:g} {result.drop_unit}, "
        f"{result.held_out_images} held-out images:"
    )
    print_table(COLUMNS, rows(result))
    if result.also_calibrated_on:
        count = result.also_calibrated_on
        print_line(f"warning: {count} of the held-out images {'was' if count == 1 else 'were'} calibrated on, too")


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
