"""The options of `predict --ray`, and the run behind them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segdino_deploy.errors import InputError

if TYPE_CHECKING:
    from segdino_deploy.cluster.engine import Chosen
    from segdino_deploy.cluster.options import RayOptions
    from segdino_deploy.cluster.plan import ClusterPlan
    from segdino_deploy.folders.options import FolderOptions
    from segdino_deploy.folders.recording import Reports, Summary

RayOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS|local",
        help="Run on a Ray cluster, or on one that is started here; takes s3:// and gs://, too.",
    ),
]
RayActorsOption = Annotated[
    int | None, typer.Option(metavar="N", help="Actors, each with an engine. Default: as many as there is room for.")
]
RayCpusOption = Annotated[int, typer.Option(metavar="N", help="CPUs of each actor, and threads of its engine.")]
RayGpusOption = Annotated[float, typer.Option(metavar="G", help="GPUs of each actor; 0.5: two actors share one.")]


def ray_options(address: str | None, actors: int | None, cpus: int, gpus: float) -> RayOptions | None:
    """None: the run stays on this machine. InputError for options that only a cluster has."""
    from segdino_deploy.cluster.options import RayOptions

    if address is None:
        changed = {"--ray-actors": actors is not None, "--ray-cpus": cpus != 1, "--ray-gpus": gpus != 0}
        named = [option for option, is_given in changed.items() if is_given]
        if named:
            raise InputError(f"{' and '.join(named)}: of a cluster's actors; add --ray local or --ray ADDRESS")
        return None
    return RayOptions(address, actors, cpus, gpus)


def run_on_ray(
    bundle: Path,
    inputs: list[str],
    output: str,
    precision: str | None,
    backend: str | None,
    options: FolderOptions,
    cluster: RayOptions,
    table: str | None,
    resume: bool,
    reports: Reports,
) -> tuple[Chosen, ClusterPlan, Summary]:
    """The run, with what it was made of."""
    from segdino_deploy.cluster.engine import choose_engine
    from segdino_deploy.cluster.plan import ClusterPlan
    from segdino_deploy.cluster.predict import predict_on_ray
    from segdino_deploy.requirements import require_module

    require_module("ray", "--ray", extra="ray")  # before the engine is opened and images are listed
    chosen = choose_engine(bundle, precision, backend)
    plan = ClusterPlan(inputs, output, [head.name for head in chosen.bundle.manifest.model.heads], reports.on_note)
    summary = predict_on_ray(chosen, plan, options, cluster, table=table, resume=resume, reports=reports)
    return chosen, plan, summary
