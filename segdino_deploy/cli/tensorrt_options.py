"""The options of `build-engine` that only TensorRT and TensorRT-RTX take, and the record that they make."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segdino_deploy.cli.arguments import split_names
from segdino_deploy.errors import InputError

if TYPE_CHECKING:
    from segdino_deploy.engines.tensorrt.options import TensorRtOptions

BOTH = "TensorRT and TensorRT-RTX"
TENSORRT_ONLY = "TensorRT only"
RTX_ONLY = "TensorRT-RTX only"

WorkspaceOption = Annotated[
    int | None,
    typer.Option(metavar="MIB", help=f"{BOTH}: device memory that a layer may use while it runs, in MiB."),
]
OptimizationLevelOption = Annotated[
    int | None, typer.Option(metavar="0..5", help=f"{TENSORRT_ONLY}: from a fast build to a fast engine. Default: 3.")
]
AuxStreamsOption = Annotated[
    int | None, typer.Option(metavar="N", help=f"{TENSORRT_ONLY}: at most so many streams beside the main one.")
]
RefittableOption = Annotated[
    bool,
    typer.Option(
        "--refittable", help=f"{BOTH}: the weights of the heads may be exchanged later; not int8, built with a GPU."
    ),
]
StripWeightsOption = Annotated[
    bool,
    typer.Option(
        "--strip-weights",
        help=f"{BOTH}: the engine holds no weights, the bundle's ONNX file does; built with a GPU.",
    ),
]
LowMemoryOption = Annotated[
    bool, typer.Option("--low-memory", help=f"{BOTH}: build with a small workspace and one thread, for a Jetson.")
]
ComputeCapabilitiesOption = Annotated[
    str | None,
    typer.Option(
        metavar="8.9,12.0",
        help=f"{RTX_ONLY}: GPUs to build for. Default: 8.0, 8.6, 8.9, 12.0 and later; 7.5 (no bf16) only by name.",
    ),
]
VersionCompatibleOption = Annotated[
    bool,
    typer.Option("--version-compatible", help=f"{TENSORRT_ONLY}: later versions open the engine, too."),
]
HardwareCompatibleOption = Annotated[
    str | None,
    typer.Option(
        metavar="LEVEL",
        help=f"{TENSORRT_ONLY}: same (other GPUs of this compute capability) or ampere-plus (Ampere and all later).",
    ),
]
DlaCoreOption = Annotated[
    int | None, typer.Option(metavar="N", help=f"{TENSORRT_ONLY}: build for this DLA core of a Jetson.")
]
TimingCacheOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help=f"{TENSORRT_ONLY}: kernel timings of former builds, read and written again."),
]


def with_given(base: TensorRtOptions, compute_capabilities: str | None, **given: Any) -> TensorRtOptions:
    """The recipe's options and those of the line, which win. `given`: by their fields; None or False: not given.

    InputError where one is out of its range.
    """
    named = {name: value for name, value in given.items() if value is not None and value is not False}
    if compute_capabilities is not None:
        named["compute_capabilities"] = tuple(split_names(compute_capabilities))
        if not named["compute_capabilities"]:
            raise InputError("--compute-capabilities: names no compute capability, such as 8.9,12.0")
    return replace(base, **named)
