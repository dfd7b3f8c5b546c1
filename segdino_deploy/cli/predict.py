"""`segdino-deploy predict`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from segdino_deploy.cli.arguments import JsonOption
from segdino_deploy.cli.console import Progress, print_json, print_line


def command(
    bundle: Annotated[Path, typer.Argument(help="The bundle, or one engine file inside it.")],
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Images, or folders of images.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where masks and overlays go.")],
    precision: Annotated[
        str | None, typer.Option(metavar="P", help="fp32, fp16, bf16 or int8. Default: fp16, bf16, fp32, int8.")
    ] = None,
    backend: Annotated[str | None, typer.Option(metavar="B", help="Default: the first that runs here.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Segment images: masks and overlays.

    Writes <stem>.png (the mask at source size) and <stem>.overlay.png, for named heads <stem>.<head>.png and
    <stem>.<head>.overlay.png; sub-folders are kept.
    """
    from segdino_deploy.engines.run import open_engine
    from segdino_deploy.predict import plan_jobs, predict_files

    with open_engine(bundle, precision=precision, backend=backend) as runner, Progress() as progress:
        heads = runner.card.heads
        jobs = plan_jobs(inputs, output, [head.name for head in heads])
        predictions = predict_files(runner, jobs, partial(progress.count, "images"))
        engine = f"{runner.backend} {runner.precision} on {runner.device}"
    if as_json:
        rows = [
            {
                "image": str(p.image),
                "head": p.target.head,
                "mask": str(p.target.mask),
                "overlay": str(p.target.overlay),
                "pixels": p.pixels,
            }
            for p in predictions
        ]
        print_json({"engine": engine, "class_names": {h.name: h.class_names for h in heads}, "images": rows})
        return
    print_line(f"{len(jobs)} image(s) segmented by {engine}: masks and overlays in {output}")
