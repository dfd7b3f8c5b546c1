"""A retrained head into the engines of a bundle: the backbone was frozen, so only the head's weights are exchanged."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from segdino_deploy.bundle import CANARY, Bundle, Content
from segdino_deploy.engines.build.pipeline import run_canary
from segdino_deploy.engines.build.staging import unless_exported_anew, working_directory
from segdino_deploy.engines.lowering import respell
from segdino_deploy.engines.precision.typed import TypedResult, make_typed_model
from segdino_deploy.engines.tensorrt.flavours import FLAVOURS
from segdino_deploy.engines.tensorrt.refit import refit_engine
from segdino_deploy.engines.tensorrt.versions import RECEIPT_OPTIONS, why_it_cannot_run
from segdino_deploy.engines.tensorrt.weights import changed_weights
from segdino_deploy.errors import InputError, MissingComponent
from segdino_deploy.export.graph import load_onnx
from segdino_deploy.export.heads import HeadSource
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.export.pipeline import export_sources
from segdino_deploy.gpu import Gpu, find_gpu
from segdino_deploy.manifest import Engine, Manifest, ModelCard
from segdino_deploy.progress import OnStep, ignore


@dataclass(frozen=True)
class Refitted:
    """What was exchanged: engine names, and how many weights differ in `model.onnx`."""

    engines: list[str]
    removed: list[str]  # engines of other backends, which hold the old weights
    weights: int


def refit_bundle(
    bundle: Bundle,
    checkpoints: Mapping[str, Path],
    backbone_weights: Path | None = None,
    on_step: OnStep = ignore,
) -> Refitted:
    """Exports the new checkpoint beside the old one, and exchanges what differs in every refittable engine.

    `checkpoints`: one for each head, `{"": path}` for a model with one. Raises InputError (nothing to refit, another
    backbone, another graph, a bundle that somebody changes meanwhile), MissingComponent (no GPU), CheckFailed
    (canary); the bundle then stays as it was.
    """
    manifest = bundle.manifest
    engines = {name: engine for name, engine in manifest.engines.items() if is_refittable(engine)}
    if not engines:
        raise InputError(f"{bundle.path}: no engine can be refitted; make one: {_how_to_build_one(bundle)}")
    sources, options = sources_and_options(manifest.model, checkpoints)
    gpu = find_gpu()
    if gpu is None:  # asked first: exporting and comparing takes minutes
        raise MissingComponent("exchanging weights needs the NVIDIA GPU that the engine was built for")
    with working_directory(bundle.path) as directory:
        new = export_sources(sources, directory / "new.segdino", options, backbone_weights, on_step)
        on_step("comparing the weights")
        changed = changed_weights(_fp32(bundle), _fp32(new))
        if not changed:
            raise InputError("the new checkpoint makes the weights that the bundle has: nothing to do")
        files: dict[str, Content] = {"model.onnx": new.file("model.onnx"), CANARY: new.file(CANARY)}
        typed: dict[str, TypedResult] = {}
        updated: dict[str, Engine] = {}
        for name, engine in engines.items():
            if engine.precision not in typed:
                typed[engine.precision] = make_typed_model(new, engine.precision, engine.backend)
            result = typed[engine.precision]
            on_step(f"exchanging the weights of {name}")
            path = directory / Path(engine.file).name
            path.write_bytes(_exchanged(bundle, engine, result.model, gpu))
            record = run_canary(name, engine, path, result.canary, new.manifest.model)
            updated[name] = engine.model_copy(update={"canary": record})
            files |= {engine.file: path, **result.files}

        def change(found: Manifest) -> Manifest:
            again = "weights were exchanged; run refit again"
            late = [name for name in found.engines if found.engines[name] != manifest.engines.get(name)]
            if late:
                raise InputError(f"{bundle.path}: {', '.join(late)} was built while {again}")
            found = unless_exported_anew(found, manifest, bundle.path, again)
            onnx_files = {"fp32": new.manifest.onnx["fp32"], **{r.key: r.record for r in typed.values()}}
            used = {CANARY, *(e.file for e in updated.values()), *(m.file for m in onnx_files.values())}
            kept = {name: record for name, record in found.files.items() if name in used}
            return found.model_copy(
                update={"model": new.manifest.model, "onnx": onnx_files, "engines": updated, "files": kept}
            )

        on_step("writing the bundle")
        bundle.update(files, change)
    return Refitted(list(updated), [name for name in manifest.engines if name not in updated], len(changed))


def _how_to_build_one(bundle: Bundle) -> str:
    """The command, for the TensorRT product whose engines the bundle has."""
    used = [engine.backend for engine in bundle.manifest.engines.values() if engine.backend in FLAVOURS]
    backend = used[0] if used else next(iter(FLAVOURS))
    return f"segdino-deploy build-engine {shlex.quote(str(bundle.path))} --fp16 --backend {backend} --refittable"


def is_refittable(engine: Engine) -> bool:
    """int8 engines are not: their scales belong to the weights that were calibrated."""
    given = engine.receipt.get(RECEIPT_OPTIONS, {})
    return engine.backend in FLAVOURS and bool(given.get("refittable")) and engine.precision != "int8"


def sources_and_options(
    card: ModelCard, checkpoints: Mapping[str, Path]
) -> tuple[dict[str, HeadSource], ExportOptions]:
    """How the bundle was exported, with other checkpoints. InputError where they are not one for each head."""
    heads = {head.name: head for head in card.heads}
    if set(heads) != set(checkpoints):
        named = ", ".join(f"--head {name}=FILE" for name in heads) if len(heads) > 1 else "--checkpoint FILE"
        whose = ", ".join(heads) or "one without a name"
        raise InputError(f"the bundle's heads are {whose}: name them all with {named}")
    sources = {name: HeadSource(checkpoints[name], tuple(head.class_names), head.taps) for name, head in heads.items()}
    first = card.heads[0]
    options = ExportOptions(
        card.input_size, card.batch, tuple(first.outputs), None, first.threshold, card.mean, card.std
    )
    return sources, options


def _exchanged(bundle: Bundle, engine: Engine, model: onnx.ModelProto, gpu: Gpu) -> bytes:
    flavour = FLAVOURS[engine.backend]
    said = why_it_cannot_run(engine, flavour, flavour.load().__version__, gpu)
    if said:
        raise MissingComponent(f"{engine.file}: {said}")
    chosen = [record.chosen for record in engine.lowering]  # weights have the names of the model as it was built
    old, new = (respell(found, chosen) for found in (load_onnx(bundle.file(engine.source)), model))
    try:
        names = changed_weights(old, new)
    except InputError as error:  # the fp32 models are the same graph, so that it is the types that differ
        seen = next(model.checked_on for model in bundle.manifest.onnx.values() if model.file == engine.source)
        raise InputError(
            f"{engine.file}: its {engine.precision} model was made with {seen}, which kept other parts in fp32 than "
            "the canary alone: build it again with --calibration"
        ) from error
    options = engine.receipt.get(RECEIPT_OPTIONS, {})
    return refit_engine(flavour, bundle.file(engine.file).read_bytes(), new, names, options)


def _fp32(bundle: Bundle) -> onnx.ModelProto:
    return load_onnx(bundle.file(bundle.manifest.onnx["fp32"].file))
