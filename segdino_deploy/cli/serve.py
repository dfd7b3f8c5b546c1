"""`segdino-deploy serve`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from segdino_deploy.cli.arguments import bundle_path
from segdino_deploy.cli.console import Progress


def command(
    bundles: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="BUNDLE",
            help="Bundles, or engine files in them; may be left out where the folder holds exactly one bundle.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(metavar="H", help="Other than loopback it needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", help="0: any that is free.")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Its line, of 16 or more characters, is what clients must send. Default: $SEGDINO_TOKEN.",
        ),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(metavar="P", help="fp32, fp16, bf16 or int8. Default: fp16, bf16, fp32, int8.")
    ] = None,
    backend: Annotated[str | None, typer.Option(metavar="B", help="Default: the first that runs here.")] = None,
    threads: Annotated[int | None, typer.Option(metavar="N", min=1, help="Of one run. Default: the backend's.")] = None,
    max_batch: Annotated[
        int | None, typer.Option(metavar="N", help="Images that run together. Default: all that the engine takes.")
    ] = None,
    batch_delay_ms: Annotated[float, typer.Option(metavar="D", help="Wait so long for others to run with.")] = 0.0,
    max_queue: Annotated[
        int, typer.Option(metavar="N", help="Requests, and images, of a model at a time; more get 503.")
    ] = 64,
    max_request_mib: Annotated[
        float | None,
        typer.Option(
            metavar="N", help="A larger request gets 413. Default: 16, or more where a full batch takes more."
        ),
    ] = None,
    max_pixels: Annotated[int, typer.Option(metavar="N", help="Of an image file; more get 413.")] = 40_000_000,
    deadline_seconds: Annotated[float, typer.Option(metavar="S", help="An answer later than that is 503.")] = 30.0,
    drain_seconds: Annotated[int, typer.Option(metavar="S", help="For what is there at SIGTERM or Ctrl-C.")] = 20,
    access_log: Annotated[bool, typer.Option("--access-log", help="A line per request on stderr.")] = False,
) -> None:
    """Serve bundles over HTTP, in the protocol of Triton and KServe (v2).

    The engines' canaries run first. SIGTERM and Ctrl-C end it: what is there is finished, exit code 0.
    """
    from segdino_deploy.requirements import require_module
    from segdino_deploy.serve.options import ServeOptions, read_token

    for module in ("fastapi", "uvicorn", "prometheus_client"):
        require_module(module, "the HTTP server", extra="serve")
    from segdino_deploy.serve.model import open_models
    from segdino_deploy.serve.server import make_server, open_address, run_server

    options = ServeOptions(
        host=host,
        port=port,
        token=read_token(token_file, os.environ),
        max_batch=max_batch,
        batch_delay_ms=batch_delay_ms,
        max_queue=max_queue,
        max_request_mib=max_request_mib,
        max_pixels=max_pixels,
        deadline_seconds=deadline_seconds,
        drain_seconds=drain_seconds,
        access_log=access_log,
    )
    paths = bundles or [bundle_path(None)]
    with (
        Progress() as progress,
        open_address(host, port, options.token is not None) as address,
        open_models(paths, precision=precision, backend=backend, threads=threads, on_step=progress.step) as models,
    ):
        what = ", ".join(f"{model.name} ({model.engine})" for model in models.values())
        run_server(make_server(models, options), address, progress.note, what)
