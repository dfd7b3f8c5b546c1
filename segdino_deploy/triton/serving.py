"""What each of Triton's backends needs of an engine, read from the backends' sources (releases 26.07 to 26.09).

- A file is found by its name: `model.plan`, `model.onnx`, `model.xml` with `model.bin` beside it.
- `max_batch_size` above 0 makes Triton put a batch dimension before `dims`, and is what its dynamic batching needs.
  TensorRT and ONNX Runtime then ask for an engine whose first dimension is dynamic. The OpenVINO backend reshapes the
  model to that one batch and computes it even for a single image, or refuses what is smaller: there, dynamic engines
  are served with the batch as an ordinary first dimension, and clients send batches as they have them.
- The OpenVINO backend takes the inference precision as `HINT_BF16` or not at all. Left alone, OpenVINO computes an fp32
  file in bf16 where the CPU has it, and nothing in a configuration or in the model's file prevents that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from segdino_deploy.engines.tensorrt.versions import RECEIPT_OPTIONS
from segdino_deploy.errors import InputError
from segdino_deploy.manifest import Engine, ModelCard
from segdino_deploy.triton.options import RepositoryOptions

HINT_BF16 = "HINT_BF16"
FILE_NAMES = {
    "tensorrt": {".plan": "model.plan"},
    "onnxruntime": {".onnx": "model.onnx"},
    "openvino": {".xml": "model.xml", ".bin": "model.bin"},
}


@dataclass(frozen=True)
class Serving:
    """How Triton runs one engine."""

    backend: str  # Triton's name of it
    on_gpu: bool
    files: Mapping[str, str]  # name in the version's folder -> file of the bundle; the engine itself first
    max_batch_size: int  # 0: `dims` hold the batch, too
    first_dim: int | None  # the batch in `dims`, -1 for any; None where it is not in them
    parameters: Mapping[str, str] = field(default_factory=dict)  # of the backend
    dla_core: int | None = None
    may_compute_in: str | None = None
    notes: tuple[str, ...] = ()  # for whoever runs the server


def serve_engine(name: str, engine: Engine, card: ModelCard, options: RepositoryOptions) -> Serving:
    """How Triton runs the engine `name`. InputError where it cannot, or not as asked; its line ends with the cure."""
    require_backend(name, engine.backend, engine.precision)
    _check_batching(name, engine, card, options)
    batches = not card.batch.is_fixed and engine.backend != "openvino"
    serving = Serving(
        backend=engine.backend,  # Triton's names are ours
        on_gpu=engine.backend == "tensorrt",
        files={_served_name(engine.backend, source): source for source in (engine.file, *engine.companions)},
        max_batch_size=card.batch.max if batches else 0,
        first_dim=None if batches else card.batch.max if card.batch.is_fixed else -1,
    )
    return _BACKENDS[engine.backend](name, engine, serving, options)


def require_backend(name: str, backend: str, precision: str | None) -> None:
    """InputError where Triton cannot run what `backend` builds. `name`: what the line is about."""
    if backend not in FILE_NAMES:
        raise InputError(
            f"{name}: Triton has no backend for {backend} engines; build one that it has: segdino-deploy build-engine "
            f"BUNDLE --{precision or 'fp16'} --backend tensorrt (on the server's GPU), openvino or onnxruntime"
        )


def _served_name(backend: str, source: str) -> str:
    path = PurePosixPath(source)
    return FILE_NAMES[backend].get(path.suffix, path.name)


def _check_batching(name: str, engine: Engine, card: ModelCard, options: RepositoryOptions) -> None:
    """InputError where requests cannot be joined though that was asked for, or not as large as asked."""
    if not options.asks_for_batching:
        return
    asked = "--preferred-batch" if options.preferred_batch else "--max-queue-delay-us"
    if card.batch.is_fixed:
        raise InputError(
            f"{name}: {asked}: it takes exactly {card.batch.max} at once, so that Triton cannot join requests; "
            "export the checkpoint with a dynamic batch, such as --batch 1:4:16"
        )
    if engine.backend == "openvino":
        raise InputError(
            f"{name}: {asked}: Triton's OpenVINO backend computes every batch at the largest size, a single image too; "
            "leave the option out, or serve an onnxruntime or tensorrt engine"
        )
    too_large = [size for size in options.preferred_batch if size > card.batch.max]
    if too_large:
        raise InputError(f"{name}: --preferred-batch: {too_large[0]}: it takes at most {card.batch.max} at once")


def _tensorrt(name: str, engine: Engine, serving: Serving, options: RepositoryOptions) -> Serving:
    given = engine.receipt.get(RECEIPT_OPTIONS, {})
    if options.threads is not None:
        raise InputError(f"{name}: --threads: it computes on the GPU; leave the option out")
    if given.get("strip_weights"):
        raise InputError(
            f"{name}: was built with --strip-weights, and Triton cannot put the weights back; build it without"
        )
    note = _built_with(name, engine, "tensorrt", "TensorRT")
    if given.get("version_compatible"):
        note += "; a later one needs tritonserver --backend-config=tensorrt,version-compatible=true"
    else:
        note += "; no other version opens it"
    dla_core = given.get("dla_core")
    return replace(serving, dla_core=None if dla_core is None else int(dla_core), notes=(note,))


def _onnxruntime(name: str, engine: Engine, serving: Serving, options: RepositoryOptions) -> Serving:
    """Everything that is not said is ONNX Runtime's default, in Triton as in our runner."""
    parameters = {} if options.threads is None else {"intra_op_thread_count": str(options.threads)}
    note = _built_with(name, engine, "onnxruntime", "ONNX Runtime")
    return replace(serving, parameters=parameters, notes=(f"{note}; a server with an older one may refuse it",))


def _openvino(name: str, engine: Engine, serving: Serving, options: RepositoryOptions) -> Serving:
    parameters = {"PERFORMANCE_HINT": "LATENCY"}  # as our runner
    if options.threads is not None:
        parameters["INFERENCE_NUM_THREADS"] = str(options.threads)
    if options.instances > 1:  # requests of one stream would wait for each other
        parameters["NUM_STREAMS"] = str(options.instances)
    wanted = engine.inference_precision or "f32"
    if wanted == "bf16":
        parameters[HINT_BF16] = "YES"
    elif not options.accept_bf16:
        raise InputError(
            f"{name}: was measured in {wanted}, which Triton's OpenVINO backend cannot be told: where the server's CPU "
            "has bf16 it computes in that; serve an onnxruntime engine or a --bf16 one instead, or allow it: "
            "--accept-bf16"
        )
    note = _built_with(name, engine, "openvino", "OpenVINO")
    return replace(
        serving,
        parameters=parameters,
        may_compute_in=None if wanted == "bf16" else "bf16",
        notes=(f"{note}; a server with an older one may refuse it",),
    )


_BACKENDS = {"tensorrt": _tensorrt, "onnxruntime": _onnxruntime, "openvino": _openvino}


def _built_with(name: str, engine: Engine, module: str, title: str) -> str:
    """What the server must have."""
    where = engine.built_with.get("compute_capability")
    on = f" on compute capability {where}" if where and module == "tensorrt" else ""
    return f"{name}: built with {title} {engine.built_with.get(module, 'of an unknown version')}{on}"
