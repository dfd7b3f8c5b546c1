"""`segdino-deploy build-engine`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from segdino_deploy.cli.tensorrt_options import (
    AuxStreamsOption,
    ComputeCapabilitiesOption,
    DlaCoreOption,
    HardwareCompatibleOption,
    LowMemoryOption,
    OptimizationLevelOption,
    RefittableOption,
    StripWeightsOption,
    TimingCacheOption,
    VersionCompatibleOption,
    WorkspaceOption,
    with_given,
)
from segdino_deploy.errors import InputError

if TYPE_CHECKING:
    from segdino_deploy.bundle import Bundle
    from segdino_deploy.manifest import Engine, TypedModel


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
    workspace: WorkspaceOption = None,
    optimization_level: OptimizationLevelOption = None,
    aux_streams: AuxStreamsOption = None,
    refittable: RefittableOption = False,
    strip_weights: StripWeightsOption = False,
    low_memory: LowMemoryOption = False,
    compute_capabilities: ComputeCapabilitiesOption = None,
    version_compatible: VersionCompatibleOption = False,
    hardware_compatible: HardwareCompatibleOption = None,
    dla_core: DlaCoreOption = None,
    timing_cache: TimingCacheOption = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Leave engines that are there, built with the same options, as they are."),
    ] = False,
    recipe: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML file with these options; the line wins.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Build engines in one or more precisions.

    Each engine is checked on the canary where this machine can run it.
    """
    from segdino_deploy.bundle import Bundle
    from segdino_deploy.engines.build import build_engine, choose_backend, find_built
    from segdino_deploy.engines.precision.budget.options import Budget, HeldOutOptions
    from segdino_deploy.engines.precision.budget.plan import BudgetMissed
    from segdino_deploy.engines.precision.budget.record import read_search
    from segdino_deploy.manifest import PRECISIONS
    from segdino_deploy.recipes import BuildRecipe, read_recipe

    base = BuildRecipe() if recipe is None else read_recipe(recipe, BuildRecipe)
    flags = {"fp32": fp32, "fp16": fp16, "bf16": bf16, "int8": int8}
    precisions = [precision for precision in PRECISIONS if flags[precision]] or base.precisions
    if not precisions:
        raise InputError("name a precision: --fp32, --fp16, --bf16 or --int8")
    held_out = HeldOutOptions(data or Path(), image_dir, mask_dir, parse_integers("--foreground", foreground), head)
    if max_drop is not None and "int8" not in precisions:
        raise InputError("--max-drop: is for --int8; other precisions have nothing to choose")
    if max_drop is not None and data is None:
        raise InputError("--max-drop: needs held-out images to measure the drop on: name them with --data DIR")
    if max_drop is None and data is not None:
        raise InputError("--data: is what --max-drop measures on: say how much may be lost with --max-drop P")
    only_with_data = {"--foreground": foreground, "--head": head, "--mask-dir": mask_dir != "mask" or None}
    for option, value in only_with_data.items():
        if value is not None and max_drop is None:
            raise InputError(f"{option}: is about the masks of --data: say how much may be lost with --max-drop P")
    budget = None if max_drop is None else Budget(max_drop, held_out)
    given = {
        "lowering": lowering,
        "calibration_method": calibration_method,
        "calibration_images": calibration_images,
        "seed": seed,
        "fp32_groups": None if fp32_groups is None else split_names(fp32_groups),
    }
    base = base.model_copy(update={name: value for name, value in given.items() if value is not None})
    tensorrt = with_given(
        base.tensorrt,
        compute_capabilities,
        workspace_mib=workspace,
        optimization_level=optimization_level,
        aux_streams=aux_streams,
        refittable=refittable,
        strip_weights=strip_weights,
        low_memory=low_memory,
        version_compatible=version_compatible,
        hardware_compatible=hardware_compatible,
        dla_core=dla_core,
        timing_cache=timing_cache,
    )
    wanted = [
        replace(
            base.options(precision, None, calibration),
            image_dir=image_dir,
            tensorrt=tensorrt,
            budget=budget if precision == "int8" else None,
        )
        for precision in precisions
    ]
    opened = Bundle.open(bundle_path(bundle))
    built: list[Engine] = []
    for options in wanted:
        names = backend or base.backends
        if not names:
            chosen, reason = choose_backend()
            names = [chosen]
            if not as_json:
                print_line(f"backend {chosen}: {reason}")
        for name in names:
            known = find_built(opened, name, options) if resume else None
            if known is not None:
                built.append(known)
                if not as_json:
                    print_line(f"{opened.path / known.file}: is there already")
                continue
            with Progress() as progress:
                try:
                    engine = build_engine(
                        opened,
                        replace(options, backend=name, skip_unreadable=skip_unreadable),
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
            if options.budget is not None and not as_json:
                print_search(read_search(opened, f"{name}-int8"))
            built.append(engine)
            if not as_json:
                print_line(f"{opened.path / engine.file}: {describe(engine)}")
    if as_json:
        print_json([engine.model_dump(mode="json") for engine in built])
    elif len(built) > 1:
        print_table(ENGINE_COLUMNS, [engine_row(opened, engine) for engine in built])


def _source(bundle: Bundle, engine: Engine) -> TypedModel:
    return next(model for model in bundle.manifest.onnx.values() if model.file == engine.source)


ENGINE_COLUMNS = ("engine", "MB", "build s", "computes in", "canary")


def engine_row(bundle: Bundle, engine: Engine) -> list[str]:
    """One line of the table after several builds."""
    size = sum(bundle.manifest.files[name].size_bytes for name in (engine.file, *engine.companions))
    seconds = "-" if engine.build_seconds is None else f"{engine.build_seconds:.1f}"
    products = engine.receipt.get("weight_products") or _source(bundle, engine).weight_products
    types = ", ".join(f"{count} {precision}" for precision, count in products.items())
    canary = "not run here" if engine.canary is None else f"{100 * engine.canary.mask_agreement:.3f}%"
    return [Path(engine.file).stem, f"{size / 1e6:.1f}", seconds, types, canary]


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


def describe(engine: Engine) -> str:
    """One line: what runs in which type, and what the canary said."""
    from segdino_deploy.engines.lowering.choose import AS_EXPORTED

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
