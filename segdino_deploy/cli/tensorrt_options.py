"""The options of `build-engine` that only TensorRT and TensorRT-RTX take, and the record that they make."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segdino_deploy.cli.arguments import split_names

if TYPE_CHECKING:
    from segdino_deploy.engines.tensorrt.options import TensorRtOptions

WorkspaceOption = Annotated[
    int | None,
    typer.Option(metavar="MIB", help="TensorRT: device memory that a layer may use while it runs, in MiB."),
]
OptimizationLevelOption = Annotated[
    int | None, typer.Option(metavar="0..5", help="TensorRT: from a fast build to a fast engine. Default: 3.")
]
AuxStreamsOption = Annotated[
    int | None, typer.Option(metavar="N", help="TensorRT: at most so many streams beside the main one.")
]
RefittableOption = Annotated[
    bool, typer.Option("--refittable", help="TensorRT: the weights of the heads may be exchanged later.")
]
StripWeightsOption = Annotated[
    bool,
    typer.Option("--strip-weights", help="TensorRT: the engine holds no weights, the bundle's ONNX file does."),
]
LowMemoryOption = Annotated[
    bool, typer.Option("--low-memory", help="TensorRT: build with a small workspace and one thread, for a Jetson.")
]
ComputeCapabilitiesOption = Annotated[
    str | None,
    typer.Option(metavar="8.9,12.0", help="TensorRT-RTX: GPUs to build for; else all that it builds for by itself."),
]
VersionCompatibleOption = Annotated[
    bool,
    typer.Option("--version-compatible", help="TensorRT: later versions open the engine, too."),
]
HardwareCompatibleOption = Annotated[
    str | None,
    typer.Option(
        metavar="LEVEL",
        help="TensorRT: same (other GPUs of this compute capability) or ampere-plus (Ampere and all later ones).",
    ),
]
DlaCoreOption = Annotated[int | None, typer.Option(metavar="N", help="TensorRT: build for this DLA core of a Jetson.")]
TimingCacheOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="TensorRT: kernel timings of former builds, read and written again."),
]


def with_given(base: TensorRtOptions, compute_capabilities: str | None, **given: Any) -> TensorRtOptions:
    """The recipe's options and those of the line, which win. `given`: by their fields; None or False: not given.

    InputError where one is out of its range.
    """
    named = {name: value for name, value in given.items() if value is not None and value is not False}
    if compute_capabilities is not None:
        named["compute_capabilities"] = tuple(split_names(compute_capabilities))
    return replace(base, **named)
