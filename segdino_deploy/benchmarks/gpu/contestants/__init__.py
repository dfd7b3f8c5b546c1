"""Who takes part in a case, by runtime: whether its library is here, what is prepared of it, and opening it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

from torch import nn

from segdino_deploy.benchmarks.gpu.contestants import onnxruntime, tensorrt, torch
from segdino_deploy.benchmarks.gpu.contestants.contract import Contestant
from segdino_deploy.benchmarks.gpu.device import Device
from segdino_deploy.benchmarks.gpu.models import CaseModels
from segdino_deploy.benchmarks.gpu.plan import Case, Spec
from segdino_deploy.benchmarks.gpu.suite import CompileMode, ExportName
from segdino_deploy.canary import Canary
from segdino_deploy.demo import example_directory
from segdino_deploy.engines.build import BACKENDS, BuildOptions, build_engine
from segdino_deploy.engines.lowering.choose import NONE
from segdino_deploy.requirements import require_module

Open = Callable[[], Contestant]
TORCH = ("torch-eager", "torch-compile")
ONNXRUNTIME = ("onnxruntime", "onnxruntime-graph")  # launch by launch, and as a captured CUDA graph


class Makers(Protocol):
    """Makes the contestants of one case. Their errors are whatever their libraries raise."""

    @property
    def canary(self) -> Canary: ...

    @property
    def thresholds(self) -> Mapping[str, float]: ...

    def check(self, spec: Spec) -> None:
        """Raises MissingComponent, with the cure, where its library is not installed or not for this device."""

    def provide(self, spec: Spec) -> None:
        """Makes what it shares with others: weights, canary, exports, typed models."""

    def prepare(self, spec: Spec) -> Open:
        """Everything of its own that comes before opening, and may want the device's memory for itself."""

    def works(self) -> bool:
        """Whether the device still answers. After some errors CUDA refuses everything until the process ends."""

    def trim(self) -> None:
        """Gives back device memory that nobody uses now."""

    def release(self) -> None:
        """Gives back all that contestants have shared; they are closed."""


class CaseMakers:
    """The real ones. `directory`: for the models' and engines' files."""

    def __init__(self, case: Case, device: Device, directory: Path, compile_mode: CompileMode) -> None:
        self.models = CaseModels(case, directory)
        self._device = device
        self._compile_mode = compile_mode
        self._modules: dict[ExportName, nn.Module] = {}

    @property
    def canary(self) -> Canary:
        return self.models.canary

    @property
    def thresholds(self) -> Mapping[str, float]:
        return self.models.thresholds

    def check(self, spec: Spec) -> None:
        if spec.runtime in TORCH:
            torch.check(self._device)
            return
        for module in ("onnxscript", "onnxsim"):
            require_module(module, "exports of the GPU suite", extra="export")
        if spec.runtime in ONNXRUNTIME:
            onnxruntime.check(self._device, captures=spec.runtime == "onnxruntime-graph")
        else:
            BACKENDS[spec.runtime].check()

    def provide(self, spec: Spec) -> None:
        _ = self.models.canary
        if spec.runtime not in TORCH:
            if spec.precision == "int8":  # whose typed model depends on the backend, and on its calibration
                self.models.bundle(spec.export)
            else:
                self.models.typed(spec.export, spec.precision)

    def prepare(self, spec: Spec) -> Open:
        if spec.runtime in TORCH:
            return partial(self._open_torch, spec)
        if spec.runtime in ONNXRUNTIME:
            return partial(self._open_onnxruntime, spec, self.models.typed(spec.export, spec.precision))
        bundle = self.models.bundle(spec.export)
        calibration = example_directory() / "train" if spec.precision == "int8" else None
        options = BuildOptions(spec.precision, spec.runtime, calibration=calibration, lowering=(NONE,))
        engine = build_engine(bundle, options)
        file = bundle.file(engine.file)
        return lambda: tensorrt.open_engine(bundle.manifest.model, engine, file, self._device, self.canary.image)

    def works(self) -> bool:
        return self._device.works()

    def trim(self) -> None:
        gc.collect()
        torch.empty_cache(self._device)

    def release(self) -> None:
        self._modules.clear()
        torch.forget_compiled()
        self.trim()

    def _open_torch(self, spec: Spec) -> Contestant:
        if spec.export not in self._modules:
            self._modules[spec.export] = self.models.module(spec.export).to(self._device.kind)
        mode = self._compile_mode if spec.runtime == "torch-compile" else None
        return torch.TorchContestant(self._modules[spec.export], spec.precision, self._device, self.canary.image, mode)

    def _open_onnxruntime(self, spec: Spec, model: Path) -> Contestant:
        captures = spec.runtime == "onnxruntime-graph"
        return onnxruntime.OnnxRuntimeContestant(
            model, self.models.card, self._device, self.canary.image, captures=captures
        )
