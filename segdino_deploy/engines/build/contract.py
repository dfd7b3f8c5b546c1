"""The one contract of all builders: a typed ONNX model in, engine files and a receipt out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from segdino_deploy.canary import Canary
from segdino_deploy.engines.run.contract import Array
from segdino_deploy.engines.tensorrt.options import TensorRtOptions
from segdino_deploy.manifest import LoweringRecord, ModelCard, Precision
from segdino_deploy.progress import OnStage, OnStep, ignore

if TYPE_CHECKING:
    from segdino_deploy.engines.build.options import BuildOptions

RunImage = Callable[[NDArray[np.uint8]], dict[str, Array]]  # uint8 `[N, H, W, 3]` to outputs by name


@dataclass(frozen=True)
class BuildRequest:
    """What a builder gets. It writes into `directory` only, under names that start with `name`."""

    model: onnx.ModelProto
    card: ModelCard
    precision: Precision
    canary: Canary
    directory: Path
    name: str  # file name without suffix: <backend>-<precision>
    lowering: tuple[str, ...] = ("auto",)  # as `engines.lowering.choose.parse_lowering` gives them
    inference_precision: str | None = None  # OpenVINO: what to compute in; None: measured
    on_step: OnStep = ignore
    on_count: OnStage = ignore
    tensorrt: TensorRtOptions = field(default_factory=TensorRtOptions)


@dataclass(frozen=True)
class BuiltEngine:
    """What a builder gives back."""

    file: Path
    companions: list[Path] = field(default_factory=list)
    built_with: dict[str, str] = field(default_factory=dict)  # library versions, device
    inference_precision: str | None = None
    receipt: dict[str, Any] = field(default_factory=dict)
    lowering: list[LoweringRecord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # for the user to read


@dataclass(frozen=True)
class Backend:
    """A builder and the check that its library (and device) are here.

    `check` raises MissingComponent. `identify` says what an engine that is built now would say it was built with.
    `check_options` raises InputError or MissingComponent for what it will not build of a model. `open_model` runs a
    typed model in memory, computing in an inference precision of the backend's own; None where this machine cannot run
    what it builds.
    """

    name: str
    check: Callable[[], None]
    build: Callable[[BuildRequest], BuiltEngine]
    identify: Callable[[], dict[str, str]]
    open_model: Callable[[onnx.ModelProto, str | None], RunImage] | None = None
    inference_precisions: Callable[[Precision], list[str]] | None = None  # None: the file alone says what computes
    check_options: Callable[[BuildOptions, ModelCard], None] = ignore
    has_device: Callable[[], bool] = lambda: True  # whether engines can run here, once they are built
