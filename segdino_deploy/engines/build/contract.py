"""The one contract of all builders: a typed ONNX model in, engine files and a receipt out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from segdino_deploy.canary import Canary
from segdino_deploy.manifest import LoweringRecord, ModelCard, Precision
from segdino_deploy.progress import OnStep, ignore


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


@dataclass(frozen=True)
class BuiltEngine:
    """What a builder gives back."""

    file: Path
    companions: list[Path] = field(default_factory=list)
    built_with: dict[str, str] = field(default_factory=dict)  # library versions, device
    inference_precision: str | None = None
    receipt: dict[str, Any] = field(default_factory=dict)
    lowering: list[LoweringRecord] = field(default_factory=list)


@dataclass(frozen=True)
class Backend:
    """A builder and the check that its library (and device) are here.

    `check` raises MissingComponent. `can_run_here` says whether engines built here can also be run here.
    """

    name: str
    check: Callable[[], None]
    build: Callable[[BuildRequest], BuiltEngine]
    can_run_here: bool
