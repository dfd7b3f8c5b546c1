"""`segdino-deploy bench`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from segdino_deploy.cli.arguments import (
    BundleArgument,
    ForegroundOption,
    HeadOption,
    JsonOption,
    bundle_path,
    parse_integers,
)
from segdino_deploy.cli.console import Progress, print_json, print_line, print_table
from segdino_deploy.cli.results import print_result


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
        Path | None, typer.Option(metavar="DIR", help="Data set in any of upstream's layouts, or folder of images.")
    ] = None,
    head: HeadOption = None,
    foreground: ForegroundOption = None,
    image_dir: Annotated[
        str | None, typer.Option(metavar="NAME", help="Folder of the images, where the layout is none that is known.")
    ] = None,
    mask_dir: Annotated[str | None, typer.Option(metavar="NAME", help="Folder of the masks.")] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            min=0,
            help="Budget: Dice points (0.01) an engine may lose, without masks % of pixels. Exit code 1 where missed.",
        ),
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Compare with model.onnx layer by layer.")] = False,
    worst: Annotated[int, typer.Option(min=0, help="Pictures per engine: images that change most.")] = 3,
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds: one run of each engine per round.")] = 20,
    warmup: Annotated[int, typer.Option(min=0, help="Rounds before them that do not count.")] = 3,
    callers: Annotated[str, typer.Option(metavar="N,N", help="Throughput: threads that share an engine.")] = "1,2",
    batch_sizes: Annotated[
        str | None, typer.Option(metavar="N,N", help="Throughput: batch sizes. Default: the model's smallest.")
    ] = None,
    throughput_seconds: Annotated[
        float, typer.Option(metavar="S", min=0, help="Of each throughput measured, one after the other. 0: none.")
    ] = 2.0,
    starts: Annotated[int, typer.Option(min=1, help="New processes that open each engine: start-up and memory.")] = 3,
    threads: Annotated[int | None, typer.Option(min=1, help="Per engine. Default: all this process may use.")] = None,
    report: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the report here too.")] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="OLD NEW", help="Compare two report.json; nothing is measured, no bundle is needed."),
    ] = None,
    cpp: Annotated[
        Path | None, typer.Option(metavar="PROGRAM", help="segdino_bench, built from cpp/: adds each engine in C++.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure speed, memory and accuracy, and write a report.

    The reference and every engine that runs here take turns, one run of each per round.
    """
    if compare is not None:
        measuring = {"BUNDLE": bundle, "--reference": reference, "--data": data, "--layers": layers}
        measuring |= {"--report": report, "--cpp": cpp}
        _require_none_of(measuring)
        _compare(*compare, max_drop, as_json)
        return
    from segdino_deploy.benchmarks.bench import run_bench
    from segdino_deploy.benchmarks.options import BenchOptions
    from segdino_deploy.benchmarks.report.save import report_directory, save_report
    from segdino_deploy.benchmarks.verdict import require_kept
    from segdino_deploy.bundle import Bundle

    options = BenchOptions(
        references=tuple(reference or ()),
        backbone_weights=backbone_weights,
        data=data,
        image_dir=image_dir,
        mask_dir=mask_dir,
        foreground=parse_integers("--foreground", foreground),
        head=head,
        max_drop=max_drop,
        layers=layers,
        worst=worst,
        rounds=rounds,
        warmup=warmup,
        callers=parse_integers("--callers", callers) or (),
        batch_sizes=parse_integers("--batch-sizes", batch_sizes) or (),
        throughput_seconds=throughput_seconds,
        starts=starts,
        threads=threads,
        cpp=cpp,
    )
    opened = Bundle.open(bundle_path(bundle))
    with report_directory(report) as directory:
        with Progress() as progress:
            try:
                result = run_bench(opened, options, directory, progress.count)
            except KeyboardInterrupt:
                for kept in opened.path.absolute().parent.glob(f"{opened.path.absolute().name}.bench-partial-*.jsonl"):
                    progress.note(f"scores so far are kept in {kept.name}: the same command goes on with them")
                raise
        # Printed first: a bundle that cannot be written must not cost the measurement.
        if as_json:
            print_json(result.model_dump(mode="json"))
        else:
            print_result(result)
        page = save_report(result, directory, opened, report, progress.note)
    if not as_json:
        print_line(f"report: {page}")
        if result.budget is not None and result.not_run:
            print_line(f"not judged, as not run here: {', '.join(result.not_run)}")
    require_kept(result)


def _require_none_of(given: Mapping[str, object]) -> None:
    from segdino_deploy.errors import InputError

    named = [option for option, value in given.items() if value]
    if named:
        raise InputError(f"--compare: reads two reports and measures nothing; leave out {', '.join(named)}")


def _compare(old: Path, new: Path, max_drop: float | None, as_json: bool) -> None:
    from segdino_deploy.benchmarks.compare import compare, read_result, require_budget
    from segdino_deploy.benchmarks.report.comparison import cells, columns, sentences

    comparison = compare(read_result(old), read_result(new), str(old), str(new))
    if as_json:
        print_json(comparison.model_dump(mode="json"))
    else:
        print_table(columns(comparison), [cells(engine, comparison) for engine in comparison.engines])
        for sentence in sentences(comparison):
            print_line(sentence)
    if max_drop is not None:
        require_budget(comparison, max_drop)
