"""The second half of the path: typed model -> engine -> canary -> bundle."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from segdino_deploy.atomic import disk_errors
from segdino_deploy.bundle import CANARY, Bundle, Content
from segdino_deploy.canary import Canary
from segdino_deploy.engines.build import onnxruntime, openvino, tensorrt
from segdino_deploy.engines.build.contract import Backend, BuildRequest, BuiltEngine
from segdino_deploy.engines.lowering.choose import AUTO, check_backend
from segdino_deploy.engines.precision.typed import make_typed_model
from segdino_deploy.engines.run import RUNNERS
from segdino_deploy.errors import CheckFailed, InputError, MissingComponent
from segdino_deploy.evidence import check_heads
from segdino_deploy.export.graph import INPUT
from segdino_deploy.manifest import CanaryRecord, Engine, Manifest, Precision
from segdino_deploy.progress import OnCount, OnStep, ignore
from segdino_deploy.requirements import has_module

ENGINES = "engines"
WORKING_PREFIX = ".build-"  # followed by the process id

BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (
        Backend("openvino", openvino.check, openvino.build, can_run_here=True),
        Backend("onnxruntime", onnxruntime.check, onnxruntime.build, can_run_here=True),
        Backend(
            "tensorrt-rtx",
            partial(tensorrt.check, "tensorrt-rtx"),
            partial(tensorrt.build, flavour="tensorrt-rtx"),
            can_run_here=False,
        ),
        Backend(
            "tensorrt",
            partial(tensorrt.check, "tensorrt"),
            partial(tensorrt.build, flavour="tensorrt"),
            can_run_here=False,
        ),
    )
}


@dataclass(frozen=True)
class BuildOptions:
    """What to build. `backend` None: chosen by `choose_backend`. `calibration`: folder of images, for int8.

    `lowering`: `("auto",)`, `("none",)` or names of `engines.lowering.LOWERINGS`.
    """

    precision: Precision
    backend: str | None = None
    calibration: Path | None = None
    lowering: tuple[str, ...] = (AUTO,)
    inference_precision: str | None = None  # OpenVINO: `f32`, `bf16` or `f16`; None: the fastest one, measured


def choose_backend() -> tuple[str, str]:
    """The default backend of this machine and the reason, for the user to read."""
    try:
        tensorrt.check("tensorrt")
        return (
            "tensorrt",
            "TensorRT is installed with a GPU (this version builds, but does not run its engines)",
        )
    except MissingComponent:
        pass
    if has_module("openvino"):
        return "openvino", "no TensorRT with a GPU here; OpenVINO is installed"
    return "onnxruntime", "neither TensorRT with a GPU nor OpenVINO here"


def build_engine(
    bundle: Bundle | str | Path,
    options: BuildOptions,
    *,
    on_step: OnStep = ignore,
    on_image: OnCount = ignore,
) -> Engine:
    """Builds one engine into the bundle, checked on the canary where this machine can run it.

    Raises InputError, MissingComponent (backend not here), CheckFailed (parity, canary); the bundle then stays as it
    was. Building the same backend and precision again replaces the engine.
    """
    bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    name = options.backend or choose_backend()[0]
    if name not in BACKENDS:
        raise InputError(f"--backend: {name!r} is none of {', '.join(BACKENDS)}")
    backend = BACKENDS[name]
    check_backend(name, options.lowering)
    backend.check()
    on_step(f"making the {options.precision} model")
    typed = make_typed_model(bundle, options.precision, options.calibration, on_image)
    canary = Canary.read(bundle.file(CANARY))
    with _working_directory(bundle.path) as directory:
        request = BuildRequest(
            typed.model,
            bundle.manifest.model,
            options.precision,
            canary,
            directory,
            f"{name}-{options.precision}",
            options.lowering,
            options.inference_precision,
            on_step,
        )
        on_step(f"building the {name} {options.precision} engine")
        with disk_errors(bundle.path):
            built = backend.build(request)
        engine = _describe(built, request, name, typed.record.file)
        if backend.can_run_here:
            on_step(f"running the canary on {request.name}")
            engine = engine.model_copy(update={"canary": _run_canary(engine, built, request)})
        files: dict[str, Content] = dict(typed.files)
        files |= {f"{ENGINES}/{path.name}": path for path in (built.file, *built.companions)}

        opened = bundle.manifest

        def add(manifest: Manifest) -> Manifest:
            if manifest.model != opened.model or manifest.onnx["fp32"] != opened.onnx["fp32"]:
                raise InputError(f"{bundle.path}: was exported anew while this engine was built; build it again")
            onnx = {**manifest.onnx, options.precision: typed.record}
            engines = {**manifest.engines, request.name: engine}
            if typed.files:  # the typed model is new: engines of other backends built from the old one are outdated
                engines = {k: e for k, e in engines.items() if k == request.name or e.source != typed.record.file}
            dropped = {f for e in manifest.engines.values() for f in (e.file, *e.companions)}
            kept = {f for e in engines.values() for f in (e.file, *e.companions)}
            records = {f: record for f, record in manifest.files.items() if f not in dropped - kept}
            return manifest.model_copy(update={"onnx": onnx, "engines": engines, "files": records})

        on_step("writing the bundle")
        bundle.update(files, add)
    return engine


def _describe(built: BuiltEngine, request: BuildRequest, backend: str, source: str) -> Engine:
    return Engine(
        file=f"{ENGINES}/{built.file.name}",
        companions=[f"{ENGINES}/{path.name}" for path in built.companions],
        backend=backend,
        precision=request.precision,
        source=source,
        built_with=built.built_with,
        inference_precision=built.inference_precision,
        receipt=built.receipt,
        lowering=built.lowering,
    )


def _run_canary(engine: Engine, built: BuiltEngine, request: BuildRequest) -> CanaryRecord:
    with RUNNERS[engine.backend](request.card, engine, built.file, None) as runner:
        outputs = runner.run({INPUT: request.canary.image})
    record = check_heads(request.canary.logits, outputs, request.card.thresholds, request.precision)
    if not record.passed:
        raise CheckFailed(f"{request.name}: the engine fails its canary ({record.detail}); nothing was replaced")
    return record


@contextmanager
def _working_directory(bundle: Path) -> Iterator[Path]:
    """A folder inside the bundle (so that taking its files over is a rename), removed in the end."""
    directory = bundle / f"{WORKING_PREFIX}{os.getpid()}"
    with disk_errors(bundle):
        for left in bundle.glob(f"{WORKING_PREFIX}*"):
            if not _is_running(left.name.removeprefix(WORKING_PREFIX)):  # of a build that was killed
                shutil.rmtree(left, ignore_errors=True)
        directory.mkdir(exist_ok=True)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _is_running(process_id: str) -> bool:
    try:
        os.kill(int(process_id), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True
