"""Who takes part in a benchmark: the reference and every engine of the bundle that this machine can run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segdino_deploy.bundle import Bundle
from segdino_deploy.engines.run import Runner, open_in_bundle
from segdino_deploy.engines.run.torch import TorchRunner
from segdino_deploy.errors import MissingComponent
from segdino_deploy.manifest import Engine

TORCH = "torch-fp32"
ONNX_REFERENCE = "model.onnx"


@dataclass(frozen=True)
class Contestants:
    """Opened runners by name, the reference first, and the engines left out with the reason."""

    runners: dict[str, Runner]
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        return next(iter(self.runners))


def open_contestant(
    bundle: Bundle,
    name: str,
    checkpoints: Sequence[Path] = (),
    backbone_weights: Path | None = None,
    threads: int | None = None,
) -> Runner:
    """One contestant by name: `torch-fp32` (needs a checkpoint per head), `model.onnx`, or an engine of the bundle."""
    if name == TORCH:
        return TorchRunner(bundle.manifest.model, checkpoints, backbone_weights, threads)
    if name == ONNX_REFERENCE:
        engine = Engine(
            file=bundle.manifest.onnx["fp32"].file,
            backend="onnxruntime",
            precision="fp32",
            source=bundle.manifest.onnx["fp32"].file,
            built_with={},
        )
        return open_in_bundle(bundle, engine, threads=threads)
    return open_in_bundle(bundle, bundle.manifest.engines[name], threads=threads)


def open_contestants(
    bundle: Bundle, checkpoints: Sequence[Path], backbone_weights: Path | None, threads: int
) -> Contestants:
    """The reference (PyTorch where checkpoints are given, else model.onnx) and all engines that run here."""
    reference = TORCH if checkpoints else ONNX_REFERENCE
    runners = {reference: open_contestant(bundle, reference, checkpoints, backbone_weights, threads)}
    skipped: dict[str, str] = {}
    for name in bundle.manifest.engines:
        try:
            runners[name] = open_contestant(bundle, name, threads=threads)
        except MissingComponent as error:
            skipped[name] = str(error)
    return Contestants(runners, skipped)
