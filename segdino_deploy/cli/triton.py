"""`segdino-deploy triton`, and the options of `predict --triton`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segdino_deploy.cli.arguments import JsonOption, parse_integers
from segdino_deploy.cli.console import Progress, print_json, print_line
from segdino_deploy.errors import InputError
from segdino_deploy.triton.options import TOKEN_VARIABLE

if TYPE_CHECKING:
    from segdino_deploy.triton.repository import WrittenModel
    from segdino_deploy.triton.runner import TritonRunner

TritonOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Run on a Triton server that has this bundle's engine: grpc://host:8001, http://host:8000, grpcs, https.",
    ),
]
TritonModelOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="The model on that server. Default: the bundle's name.")
]
TritonTimeoutOption = Annotated[float, typer.Option(metavar="SECONDS", help="Of one request to that server.")]
TritonHeaderOption = Annotated[
    list[str] | None, typer.Option(metavar="NAME:VALUE", help="Sent with every request; may be given again.")
]
TritonTokenOption = Annotated[
    str | None,
    typer.Option(
        metavar="TOKEN",
        envvar=TOKEN_VARIABLE,
        show_envvar=True,
        help="Sent as a bearer token; better from the environment, where no process list shows it.",
    ),
]
TritonCaOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The server's certificate authority (PEM). Default: the system's.")
]


def command(
    bundles: Annotated[list[Path], typer.Argument(metavar="BUNDLE", help="Bundles, or engine files in them.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="REPO", help="The model repository.")],
    engine: Annotated[str | None, typer.Option(metavar="NAME", help="Which engine, such as tensorrt-fp16.")] = None,
    backend: Annotated[str | None, typer.Option(metavar="B", help="tensorrt, onnxruntime or openvino.")] = None,
    precision: Annotated[
        str | None, typer.Option(metavar="P", help="fp32, fp16, bf16 or int8. Default: fp16, bf16, fp32, int8.")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The model's name. Default: the bundle's.")] = None,
    instances: Annotated[
        int, typer.Option(metavar="N", help="Executions of a model at the same time, on each GPU or on the CPU.")
    ] = 1,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="Of one execution on a CPU. Default: the library's own choice.")
    ] = None,
    max_queue_delay_us: Annotated[
        int | None, typer.Option(metavar="N", help="Microseconds a request may wait to be joined with others.")
    ] = None,
    preferred_batch: Annotated[
        str | None, typer.Option(metavar="N,N", help="Batch sizes worth waiting for. Default: the largest.")
    ] = None,
    versions: Annotated[
        int, typer.Option(metavar="N", help="Versions of a model that are kept and served side by side.")
    ] = 1,
    accept_bf16: Annotated[
        bool,
        typer.Option(
            "--accept-bf16", help="OpenVINO: let the server compute in bf16 what was measured in f32 (see README)."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a model repository that Triton Inference Server loads as it is.

    A model per bundle, with batching, warm-up from the canary, class labels and the model's card. A model that is there
    gets a new version; nothing that another program wrote is touched.
    """
    from segdino_deploy.triton.options import RepositoryOptions
    from segdino_deploy.triton.plan import EngineChoice, plan_models
    from segdino_deploy.triton.repository import write_repository

    options = RepositoryOptions(
        instances,
        threads,
        max_queue_delay_us,
        parse_integers("--preferred-batch", preferred_batch) or (),
        versions,
        accept_bf16,
    )
    with Progress() as progress:
        progress.step("verifying the bundles")
        models = plan_models(bundles, EngineChoice(engine, backend, precision), options, name)
        for note in (note for model in models for note in model.notes):
            progress.note(f"note: {note}")
        written = write_repository(output, models, options, progress.step)
    if as_json:
        print_json({"repository": str(output), "models": [_as_json(model) for model in written]})
        return
    for model in written:
        change = "" if model.is_new_version else " (was there already)"
        served = ", ".join(map(str, model.versions))
        print_line(f"{model.path}: version {model.version}: {model.served.engine}{change}; served: {served}")
    print_line(f"serve it: tritonserver --model-repository={output}")


def check_triton_options(context: typer.Context, url: str | None, **of_engines: str | None) -> None:
    """InputError for options of a server without one, and for `of_engines`, which a server decides, with one."""
    if url is not None:
        if named := [f"--{name}" for name, value in of_engines.items() if value is not None]:
            raise InputError(f"--triton: the server has the engine; leave out {' and '.join(named)}")
        return
    names = [name for name in context.params if name.startswith("triton_")]
    # those on the line: the environment may hold a token for other runs
    given = [name for name in names if str(context.get_parameter_source(name)).endswith("COMMANDLINE")]
    if given:
        named = [f"--{name.replace('_', '-')}" for name in given]
        raise InputError(f"{' and '.join(named)}: of a Triton server; add --triton URL")


def open_triton_runner(
    bundle: Path,
    url: str,
    model: str | None = None,
    timeout_seconds: float | None = None,
    headers: list[str] | None = None,
    token: str | None = None,
    ca_file: Path | None = None,
) -> TritonRunner:
    """The runner that `predict --triton` uses, from what stands on its line. InputError names the option."""
    from segdino_deploy.triton.options import ClientOptions
    from segdino_deploy.triton.runner import TritonRunner

    sent = dict(_header(line) for line in headers or [])
    if token:
        sent["authorization"] = f"Bearer {token}"
    default = ClientOptions.timeout_seconds
    seconds = default if timeout_seconds is None else timeout_seconds
    return TritonRunner(bundle, ClientOptions(url, model, timeout_seconds=seconds, headers=sent, ca_file=ca_file))


def _header(line: str) -> tuple[str, str]:
    """gRPC takes small letters only; HTTP does not care."""
    name, separator, value = line.partition(":")
    if not (separator and name.strip() and value.strip()):
        raise InputError(f"--triton-header: {name!r} ... is not NAME:VALUE, such as x-tenant:clinic")
    return name.strip().lower(), value.strip()


def _as_json(model: WrittenModel) -> dict[str, object]:
    return {
        "name": model.name,
        "path": str(model.path),
        "version": model.version,
        "versions": model.versions,
        "is_new_version": model.is_new_version,
        "record": model.served.model_dump(mode="json"),
    }
