"""Who takes part in a benchmark: the reference and every engine of the bundle that this machine can run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segdino_deploy.benchmarks.native.program import Program
from segdino_deploy.bundle import Bundle
from segdino_deploy.engines.run import Runner, open_in_bundle
from segdino_deploy.engines.run.torch import TorchRunner
from segdino_deploy.errors import SegdinoDeployError
from segdino_deploy.export.graph import INPUT
from segdino_deploy.manifest import Engine

TORCH = "torch-fp32"
ONNX_REFERENCE = "model.onnx"
IN_CPP = " (C++)"  # behind an engine's name: the same engine in the C++ library
CPP_LIBRARY = "segdino (C++)"  # among the versions


@dataclass(frozen=True)
class Contestants:
    """Opened runners by name, the reference first, and the engines left out with the reason."""

    runners: dict[str, Runner]
    skipped: dict[str, str] = field(default_factory=dict)
    program: Program | None = None  # that runs those in C++

    @property
    def reference(self) -> str:
        return next(iter(self.runners))


def is_in_cpp(name: str) -> bool:
    return name.endswith(IN_CPP)


def engine_of(name: str) -> str:
    """The engine's name in the bundle."""
    return name.removesuffix(IN_CPP)


def open_contestant(
    bundle: Bundle,
    name: str,
    checkpoints: Sequence[Path] = (),
    backbone_weights: Path | None = None,
    threads: int | None = None,
    program: Program | None = None,
) -> Runner:
    """One contestant by name: `torch-fp32` (needs a checkpoint per head), `model.onnx`, or an engine of the bundle, in
    C++ (needs the program) where `IN_CPP` follows its name."""
    if is_in_cpp(name):
        from segdino_deploy.benchmarks.native.runner import NativeRunner

        assert program is not None
        return NativeRunner(bundle, engine_of(name), program, name, threads)
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
    bundle: Bundle,
    checkpoints: Sequence[Path],
    backbone_weights: Path | None,
    threads: int,
    program: Program | None = None,
) -> Contestants:
    """The reference (PyTorch where checkpoints are given, else model.onnx) and all engines that run here, each of them
    in `program` too, where there is one.

    An engine that cannot be opened, or does not answer, is left out with its error. Without the reference there is
    nothing to measure: its error is raised.
    """
    reference = TORCH if checkpoints else ONNX_REFERENCE
    runners = {reference: open_contestant(bundle, reference, checkpoints, backbone_weights, threads)}
    skipped: dict[str, str] = {}
    try:
        for engine in bundle.manifest.engines:
            for name in (engine,) if program is None else (engine, engine + IN_CPP):
                try:
                    runners[name] = _open_answering(bundle, name, threads, program)
                except SegdinoDeployError as error:
                    skipped[name] = str(error)
    except BaseException:  # Ctrl-C too: engines hold devices
        for runner in runners.values():
            runner.close()
        raise
    return Contestants(runners, skipped, program)


def _open_answering(bundle: Bundle, name: str, threads: int, program: Program | None) -> Runner:
    """Opened, and run once: what fails at the first image must not end a run of all others in its middle."""
    runner = open_contestant(bundle, name, threads=threads, program=program)
    try:
        card = bundle.manifest.model
        runner.run({INPUT: np.full((card.batch.min, *card.input_size, 3), 128, np.uint8)})
    except BaseException:
        runner.close()
        raise
    return runner


def identity_of(bundle: Bundle, name: str) -> str:
    """What a contestant's answers depend on: hashes of its files, and what it computes in."""
    manifest = bundle.manifest
    if name == TORCH:
        parts = [
            f"{head.name} {head.checkpoint.sha256} {head.checkpoint.backbone_weights_sha256}"
            for head in manifest.model.heads
        ]
    elif name == ONNX_REFERENCE:
        parts = [manifest.files[manifest.onnx["fp32"].file].sha256]
    else:
        engine = manifest.engines[engine_of(name)]
        parts = [manifest.files[file].sha256 for file in (engine.file, *engine.companions)]
        parts.append(engine.inference_precision or "")
    return " ".join([name, *parts])


def version_of(backend: str) -> str:
    """Of the library that an opened runner of `backend` uses, whatever distribution it came with."""
    module = sys.modules.get(backend.replace("-", "_"))
    return str(getattr(module, "__version__", "unknown"))
