"""`segdino-deploy demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segdino_deploy.cli.console import Progress, print_line
from segdino_deploy.cli.results import print_result


def command(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="BUNDLE", help="The bundle to make.")] = Path(
        "demo.segdino"
    ),
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds of the benchmark.")] = 20,
) -> None:
    """Run the whole path on the packaged example.

    Export, fp32, fp16 and int8 builds, verify, bench and predict on brain MRI slices.
    """
    from segdino_deploy.demo import run_demo

    with Progress() as progress:
        result = run_demo(output, rounds, progress.step, progress.count)
    print_result(result.bench)
    print_line(f"verified: the canary passed on {', '.join(result.verified)}")
    print_line(f"bundle: {output}")
    print_line(f"report: {result.report}")
    print_line(f"overlay pictures: {result.pictures}, all on one sheet: {result.sheet}")
