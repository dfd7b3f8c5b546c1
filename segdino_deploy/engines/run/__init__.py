"""Opening engines. A new backend is one file here and one line in `RUNNERS`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from segdino_deploy.bundle import Bundle, is_bundle
from segdino_deploy.engines.run.contract import Runner, run_padded
from segdino_deploy.errors import InputError, MissingComponent
from segdino_deploy.manifest import PRECISIONS, Engine, ModelCard

Opener = Callable[[ModelCard, Engine, Path, "int | None"], Runner]


def _open_onnxruntime(card: ModelCard, engine: Engine, path: Path, threads: int | None) -> Runner:
    from segdino_deploy.engines.run.onnxruntime import OnnxRuntimeRunner

    return OnnxRuntimeRunner(card, engine, path, threads)


def _open_openvino(card: ModelCard, engine: Engine, path: Path, threads: int | None) -> Runner:
    from segdino_deploy.engines.run.openvino import OpenVinoRunner

    return OpenVinoRunner(card, engine, path, threads)


def _open_tensorrt(card: ModelCard, engine: Engine, path: Path, threads: int | None) -> Runner:
    from segdino_deploy.engines.run.tensorrt import TensorRtRunner

    return TensorRtRunner(card, engine, path, threads)


RUNNERS: dict[str, Opener] = {
    "openvino": _open_openvino,
    "onnxruntime": _open_onnxruntime,
    "tensorrt": _open_tensorrt,
    "tensorrt-rtx": _open_tensorrt,
}
# Which engine of a bundle is opened when none is named: the fastest of those that keep the masks, by kind.
PREFERRED_PRECISIONS = ("fp16", "bf16", "fp32", "int8")


def open_engine(
    path: str | Path, *, precision: str | None = None, backend: str | None = None, threads: int | None = None
) -> Runner:
    """Opens one engine file of a bundle, or picks an engine from a bundle.

    From a bundle: the first engine that this machine can run, fp16 before bf16, fp32 and int8, among those of the asked
    `precision` and `backend`. A backend or precision asked for by name is never replaced by another.
    Raises InputError (no such engine), MissingComponent (its backend is not here).
    """
    path = Path(path)
    for option, value, known in (("precision", precision, PRECISIONS), ("backend", backend, tuple(RUNNERS))):
        if value is not None and value not in known:
            raise InputError(f"--{option}: {value!r} is none of {', '.join(known)}")
    bundle, candidates = _candidates(path, precision, backend)
    missing: MissingComponent | None = None
    for engine in candidates:
        try:
            return open_in_bundle(bundle, engine, threads=threads)
        except MissingComponent as error:
            missing = missing or error
    assert missing is not None
    raise missing


def open_in_bundle(bundle: Bundle, engine: Engine, *, threads: int | None = None) -> Runner:
    """Opens an engine of an opened bundle."""
    return RUNNERS[engine.backend](bundle.manifest.model, engine, bundle.file(engine.file), threads)


def bundle_of(path: Path) -> tuple[Bundle, str]:
    """The bundle that an engine's file is in, and the engine's name. InputError where it is in none."""
    home = next((parent for parent in path.absolute().parents if is_bundle(parent)), None)
    if home is None:
        raise InputError(f"{path}: engines are opened inside their bundle, where their card and hashes are")
    bundle = Bundle.open(home)
    file = path.absolute().relative_to(home.absolute()).as_posix()
    name = next((name for name, engine in bundle.manifest.engines.items() if engine.file == file), None)
    if name is None:
        raise InputError(f"{path}: is no engine of {home.name} (engines: {_names(bundle)})")
    return bundle, name


def _candidates(path: Path, precision: str | None, backend: str | None) -> tuple[Bundle, list[Engine]]:
    if path.is_file():
        bundle, name = bundle_of(path)
        engine = bundle.manifest.engines[name]
        if (precision or engine.precision, backend or engine.backend) != (engine.precision, engine.backend):
            asked = " ".join(filter(None, (backend, precision)))
            held = f"{engine.backend} {engine.precision}"
            raise InputError(f"{path}: holds {held}, while {asked} was asked for; name the bundle instead")
        return bundle, [engine]
    bundle = Bundle.open(path)
    engines = [
        engine
        for engine in bundle.manifest.engines.values()
        if (precision is None or engine.precision == precision) and (backend is None or engine.backend == backend)
    ]
    if not engines:
        asked = " ".join(filter(None, (backend, precision)))
        build = f"segdino-deploy build-engine {path} --{precision or 'fp16'}" + (
            f" --backend {backend}" if backend else ""
        )
        raise InputError(f"{path}: no {asked + ' ' if asked else ''}engine (has: {_names(bundle)}); make one: {build}")
    order = list(RUNNERS)
    engines.sort(key=lambda e: (PREFERRED_PRECISIONS.index(e.precision), order.index(e.backend)))
    return bundle, engines


def _names(bundle: Bundle) -> str:
    return ", ".join(bundle.manifest.engines) or "none"


__all__ = ["RUNNERS", "Runner", "bundle_of", "open_engine", "open_in_bundle", "run_padded"]
