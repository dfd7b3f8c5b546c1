"""`segdino-deploy bench`."""

from __future__ import annotations

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
)
from segdino_deploy.cli.console import Progress, print_json, print_line, print_table


def command(
    bundle: BundleArgument = None,
    reference: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="CHECKPOINT",
            help="The exported checkpoint, of each head: adds PyTorch. Default: model.onnx stands in.",
        ),
    ] = None,
    backbone_weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The backbone of a head-only checkpoint.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Data set folder (image/, mask/) or folder of images.")
    ] = None,
    head: HeadOption = None,
    foreground: ForegroundOption = None,
    image_dir: ImageDirOption = "image",
    mask_dir: MaskDirOption = "mask",
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds: one run of each engine per round.")] = 20,
    warmup: Annotated[int, typer.Option(min=0, help="Rounds before them that do not count.")] = 3,
    threads: Annotated[int | None, typer.Option(min=1, help="Per engine. Default: all this process may use.")] = None,
    report: Annotated[Path | None, typer.Option(metavar="DIR", help="Write bench.json and bench.md here too.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure latency, memory and accuracy.

    The reference and every engine that runs here take turns, one run of each per round.
    """
    from segdino_deploy.benchmarks.bench import BenchOptions, run_bench, save_report
    from segdino_deploy.benchmarks.report import caption, cells, columns
    from segdino_deploy.bundle import Bundle

    opened = Bundle.open(bundle_path(bundle))
    options = BenchOptions(
        references=tuple(reference or ()),
        backbone_weights=backbone_weights,
        data=data,
        image_dir=image_dir,
        mask_dir=mask_dir,
        foreground=parse_integers("--foreground", foreground),
        head=head,
        rounds=rounds,
        warmup=warmup,
        threads=threads,
    )
    with Progress() as progress:
        result = run_bench(opened, options, progress.count)
    # Printed first: a bundle that cannot be written must not cost the measurement.
    if as_json:
        print_json(result.model_dump(mode="json"))
        save_report(result, opened, report)
        return
    print_line(caption(result))
    print_table(columns(result), [cells(row, result) for row in result.rows])
    for name, reason in result.skipped.items():
        print_line(f"not run here: {name} ({reason})")
    save_report(result, opened, report)
    print_line(f"stored: {opened.path / 'report'}")
