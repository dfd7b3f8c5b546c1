"""`segdino-deploy refit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segdino_deploy.cli.arguments import BundleArgument, JsonOption, bundle_path
from segdino_deploy.cli.console import Progress, print_json, print_line
from segdino_deploy.errors import InputError


def command(
    bundle: BundleArgument = None,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The retrained checkpoint of a model with one head.")
    ] = None,
    head: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FILE", help="One for each head of a model with several.")
    ] = None,
    backbone_weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The backbone, where the checkpoint holds a head only.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Exchange the head's weights in TensorRT engines, after training a head again on the same frozen backbone.

    For engines built with --refittable, on the GPU that they were built for. Engines that cannot be refitted (int8,
    other backends) hold the old weights and are removed: the model is another one then. The commands that build them
    again are printed.
    """
    from segdino_deploy.bundle import Bundle
    from segdino_deploy.engines.refit import refit_bundle
    from segdino_deploy.engines.tensorrt.versions import rebuild_command

    if (checkpoint is None) == (not head):
        raise InputError("name the new checkpoint: --checkpoint FILE, or --head NAME=FILE for each head")
    checkpoints = {"": checkpoint} if checkpoint is not None else dict(_named(line) for line in head or [])
    opened = Bundle.open(bundle_path(bundle))
    before = opened.manifest.engines
    with Progress() as progress:
        done = refit_bundle(opened, checkpoints, backbone_weights, progress.step)
    if as_json:
        print_json({"engines": done.engines, "removed": done.removed, "weights": done.weights})
        return
    print_line(f"{opened.path}: {done.weights} weights exchanged in {', '.join(done.engines)}; canaries passed")
    if done.removed:
        print_line("removed, for they hold the old weights; build them again:")
    for name in done.removed:
        engine = before[name]
        calibration = " --calibration DIR" if engine.precision == "int8" else ""  # of the old weights
        print_line(f"{name}: {rebuild_command(engine, opened.path, same_targets=True)}{calibration}")


def _named(line: str) -> tuple[str, Path]:
    name, separator, path = line.partition("=")
    if not (name and separator and path):
        raise InputError(f"--head: {line!r} is not NAME=FILE, such as polyp=polyp.pth")
    return name, Path(path)
