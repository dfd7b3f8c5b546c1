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
from segdino_deploy.cli.built_engines import describe, print_engines, print_failure, print_search
from segdino_deploy.cli.console import Progress, print_json, print_line
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
    from segdino_deploy.manifest import Engine


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
    from segdino_deploy.engines.build import build_engine, check_build, choose_backend, engine_name, find_built
    from segdino_deploy.engines.build.staging import remove_leftovers
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
    names = list(dict.fromkeys(backend or base.backends))
    if not names:
        chosen, reason = choose_backend()
        names = [chosen]
        if not as_json:
            print_line(f"backend {chosen}: {reason}")
    wanted = [
        replace(
            base.options(precision, name, calibration),
            image_dir=image_dir,
            skip_unreadable=skip_unreadable,
            tensorrt=tensorrt,
            budget=budget if precision == "int8" else None,
        )
        for precision in dict.fromkeys(precisions)
        for name in names
    ]
    opened = Bundle.open(bundle_path(bundle), rebuilt=[engine_name(options) for options in wanted])
    remove_leftovers(opened.path)
    for options in wanted:  # all of them before the first is built
        check_build(opened, options)
    built: list[Engine] = []
    try:
        for options in wanted:
            known = find_built(opened, options) if resume else None
            if known is not None:
                built.append(known)
                if not as_json:
                    print_line(f"{opened.path / known.file}: is there already")
                continue
            with Progress() as progress:
                engine = build_engine(
                    opened, options, on_step=progress.step, on_count=progress.count, on_note=progress.note
                )
            built.append(engine)
            if not as_json:
                if options.budget is not None:
                    print_search(read_search(opened, engine_name(options)))
                print_line(f"{opened.path / engine.file}: {describe(engine)}")
    except BaseException as error:  # what is built stays, so that it is reported
        if as_json:
            print_failure(built, error)
        else:
            if isinstance(error, BudgetMissed):
                print_search(error.search)
            print_engines(opened, built)
        raise
    if as_json:
        print_json([engine.model_dump(mode="json") for engine in built])
    else:
        print_engines(opened, built)
