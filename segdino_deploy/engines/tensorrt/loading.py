"""An engine file into TensorRT: everything that can be told before is told before, and each failure in one line."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segdino_deploy.bundle import is_bundle
from segdino_deploy.engines.tensorrt.flavours import FLAVOURS, Flavour, TensorRtModule
from segdino_deploy.engines.tensorrt.messages import Messages
from segdino_deploy.engines.tensorrt.runtime import open_runtime
from segdino_deploy.engines.tensorrt.tensors import check_tensors, tensors_of
from segdino_deploy.engines.tensorrt.versions import RECEIPT_OPTIONS, rebuild_command, why_it_cannot_run
from segdino_deploy.errors import InputError, MissingComponent, SegdinoDeployError
from segdino_deploy.gpu import Gpu, find_gpu
from segdino_deploy.manifest import Engine, ModelCard

if TYPE_CHECKING:
    import tensorrt as trt

# What TensorRT-RTX says of an engine that it will not open (`EngineInvalidityDiagnostics`), in words.
REASONS = {
    "VERSION_MISMATCH": "it was built by another version",
    "UNSUPPORTED_CC": "it was not built for this GPU",
    "OLD_CUDA_DRIVER": "this machine's driver is too old",
    "OLD_CUDA_RUNTIME": "this machine's CUDA is too old",
    "INSUFFICIENT_GPU_MEMORY": "this GPU has too little memory",
    "MALFORMED_ENGINE": "it is no engine, or a damaged one",
    "CUDA_ERROR": "CUDA does not work here",
}


@dataclass
class LoadedEngine:
    """TensorRT's objects and what they have said. The contexts must be gone before `close`."""

    api: TensorRtModule
    flavour: Flavour
    messages: Messages
    runtime: trt.Runtime | None
    engine: trt.ICudaEngine | None

    def failure(self, what: str) -> SegdinoDeployError:
        """The error to raise after TensorRT has refused something; what it said is forgotten then."""
        return self.messages.failure(what, self.flavour, self.api.__version__)

    def close(self) -> None:
        """May be called again."""
        self.engine = None
        self.runtime = None


def require_runnable(engine: Engine, path: Path) -> Gpu:
    """This machine's GPU. MissingComponent, with the cure, where the engine does not run on it."""
    gpu = find_gpu()
    if gpu is None:
        raise MissingComponent(f"{engine.backend} engines: no usable NVIDIA GPU here; run them on the target device")
    flavour = FLAVOURS[engine.backend]
    said = why_it_cannot_run(engine, flavour, flavour.load().__version__, gpu)
    if said:
        raise MissingComponent(f"{path}: {said}; {_cure(engine, path)}")
    return gpu


def load_engine(card: ModelCard, engine: Engine, path: Path) -> LoadedEngine:
    """Deserialises the file and, where it holds no weights, brings them in from the bundle's ONNX file.

    Raises MissingComponent (this driver or GPU), InputError (no engine of this model), SegdinoDeployError.
    """
    flavour = FLAVOURS[engine.backend]
    api = flavour.load()
    options = engine.receipt.get(RECEIPT_OPTIONS, {})
    messages = Messages(api)
    runtime = open_runtime(api, messages, options)
    loaded = LoadedEngine(api, flavour, messages, runtime, None)
    data = _read(path)
    reasons = _reasons(runtime, data, api) if flavour.compiles_on_device else []
    if "MALFORMED_ENGINE" in reasons:
        raise InputError(f"{path}: {REASONS['MALFORMED_ENGINE']}; copy the bundle again, or {_cure(engine, path)}")
    messages.listen()  # not to what was said to the question: what the answer is comes now
    deserialized = runtime.deserialize_cuda_engine(data)
    if deserialized is None:
        error = loaded.failure(f"cannot open {path}")
        if reasons:
            words = " and ".join(REASONS[reason] for reason in reasons)
            raise MissingComponent(f"{error}; {words}; {_cure(engine, path)}")
        other = next((f for f in FLAVOURS.values() if f is not flavour and f.magic and data[:4] == f.magic), None)
        if other is not None:  # said only now: TensorRT itself knows best what it can open
            said = f"its first bytes are those of a {other.title} engine"
            raise InputError(f"{error}; {said}; {_cure(engine, path)}")
        raise SegdinoDeployError(f"{error}; copy the bundle again, or {_cure(engine, path)}")
    loaded.engine = deserialized
    try:
        check_tensors(tensors_of(deserialized, api), card)
    except InputError as error:
        raise InputError(f"{path}: {error}; {_cure(engine, path)}") from error
    if options.get("strip_weights"):
        _bring_weights(loaded, deserialized, engine, path)
    return loaded


def _read(path: Path) -> mmap.mmap:
    """Mapped, not read: TensorRT makes its own copy, and a Jetson has no room for two."""
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: the file is empty
        raise InputError(f"{path}: cannot be read ({error}); copy the bundle again") from error


def _reasons(runtime: Any, data: mmap.mmap, api: Any) -> list[str]:
    """Why TensorRT-RTX calls an engine invalid here. (`tensorrt` has no such question.)

    Not the last word: on data-centre GPUs it is said to name the GPU of engines that then open and run, so that only
    what holds everywhere (no engine at all) is refused for it.
    """
    validity, bits = runtime.get_engine_validity(data)
    if validity != api.EngineValidity.INVALID:
        return []
    return [name for name, value in api.EngineInvalidityDiagnostics.__members__.items() if int(value) & int(bits)]


def _bring_weights(loaded: LoadedEngine, target: trt.ICudaEngine, engine: Engine, path: Path) -> None:
    """Weights by name, from the file that the engine was built from, spelled as it was then."""
    source = _source(engine, path)
    refitter = loaded.api.Refitter(target, loaded.messages.logger)
    parser = loaded.api.OnnxParserRefitter(refitter, loaded.messages.logger)
    if not _refit(parser, refitter, _spelled(source, engine)):
        raise SegdinoDeployError(
            f"{loaded.failure(f'cannot bring the weights of {source} into {path}')}; {_cure(engine, path)}"
        )


def _refit(parser: trt.OnnxParserRefitter, refitter: trt.Refitter, model: bytes) -> bool:
    return parser.refit_from_bytes(model) and not refitter.get_missing_weights() and refitter.refit_cuda_engine()


def _source(engine: Engine, path: Path) -> Path:
    """Beside the engine while it is being built, else in the bundle."""
    beside = path.parent / Path(engine.source).name
    source = beside if beside.is_file() else _bundle_of(path) / engine.source
    if not source.is_file():
        raise MissingComponent(f"{path}: holds no weights, and {source} with them is not there; copy the whole bundle")
    return source


def _spelled(source: Path, engine: Engine) -> bytes:
    """The model as the engine was built from it: weights are found by the names that they have there."""
    from segdino_deploy.engines.lowering import LOWERINGS, respell
    from segdino_deploy.export.graph import load_onnx

    names = [record.chosen for record in engine.lowering if record.chosen in LOWERINGS]
    return bytes(respell(load_onnx(source), names).SerializeToString()) if names else source.read_bytes()


def _cure(engine: Engine, path: Path) -> str:
    return f"build it here: {rebuild_command(engine, _bundle_of(path))}"


def _bundle_of(path: Path) -> Path:
    """The bundle that holds a file; the file's own folder where none does."""
    return next((parent for parent in path.parents if is_bundle(parent)), path.parent)
