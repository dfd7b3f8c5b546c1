"""The second half of the path: typed model -> engine -> canary -> bundle."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from segdino_deploy.atomic import disk_errors
from segdino_deploy.bundle import Bundle, Content
from segdino_deploy.canary import Canary
from segdino_deploy.engines.build.backends import BACKENDS, choose_backend
from segdino_deploy.engines.build.check import check_build
from segdino_deploy.engines.build.contract import Backend, BuildRequest, BuiltEngine
from segdino_deploy.engines.build.options import BuildOptions, asked_by, engine_name
from segdino_deploy.engines.build.staging import unless_exported_anew, working_directory
from segdino_deploy.engines.lowering.choose import AS_EXPORTED
from segdino_deploy.engines.precision.budget.record import SearchResult, summary
from segdino_deploy.engines.precision.typed import TypedResult, int8_result, make_int8_source, make_typed_model
from segdino_deploy.engines.run import RUNNERS
from segdino_deploy.errors import CheckFailed, MissingComponent, one_line
from segdino_deploy.evidence import check_heads
from segdino_deploy.export.graph import INPUT
from segdino_deploy.manifest import CanaryRecord, Engine, Manifest, ModelCard
from segdino_deploy.progress import OnStage, OnStep, ignore
from segdino_deploy.recipes import write_build_recipe

ENGINES = "engines"


def build_engine(
    bundle: Bundle | str | Path,
    options: BuildOptions,
    *,
    on_step: OnStep = ignore,
    on_count: OnStage = ignore,
    on_note: OnStep = ignore,
) -> Engine:
    """Builds one engine into the bundle, checked on the canary where this machine can run it.

    `on_note` gets lines that the user should read: coverage of the calibration images, warnings, a recommendation.
    Raises InputError, MissingComponent (backend not here), CheckFailed (parity, canary), BudgetMissed; the bundle then
    stays as it was. Building the same backend and precision again replaces the engine.
    """
    bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    name = options.backend or choose_backend()[0]
    options = replace(options, backend=name)
    check_build(bundle, options)
    backend = BACKENDS[name]
    on_step(f"making the {options.precision} model")
    made = _make_model(bundle, name, backend, options, on_step, on_count, on_note)
    typed = made.typed
    with working_directory(bundle.path) as directory:
        request = BuildRequest(
            typed.model,
            bundle.manifest.model,
            options.precision,
            typed.canary,
            directory,
            engine_name(options),
            made.lowering,
            made.inference_precision,
            on_step,
            on_count,
            options.tensorrt,
        )
        on_step(f"building the {name} {options.precision} engine")
        with disk_errors(bundle.path):
            started = time.perf_counter()
            built = backend.build(request)
            seconds = round(time.perf_counter() - started, 2)
        for note in built.notes:
            on_note(f"note: {note}")
        engine = _describe(built, request, name, typed.record.file, seconds)
        engine = engine.model_copy(update={"asked": asked_by(options)})
        if made.search is not None:
            engine = engine.model_copy(update={"receipt": {**engine.receipt, "budget": summary(made.search)}})
        elif (searched := _search_of_the_same(bundle.manifest, request.name, engine, typed)) is not None:
            engine = engine.model_copy(update={"receipt": {**engine.receipt, "budget": searched}})
        if options.tensorrt.strip_weights:  # the runner looks for the weights beside the engine
            (directory / typed.record.file).write_bytes(typed.model.SerializeToString())
        if backend.has_device():
            on_step(f"running the canary on {request.name}")
            try:
                answer = run_canary(request.name, engine, built.file, request.canary, request.card)
                engine = engine.model_copy(update={"canary": answer})
            except MissingComponent as error:  # built for another device
                on_note(f"note: the canary was not run on {request.name}: {error}")
        files: dict[str, Content] = {**typed.files, **made.files}
        files |= {f"{ENGINES}/{path.name}": path for path in (built.file, *built.companions)}
        if typed.record.int8 is not None:
            files[f"{ENGINES}/{request.name}.toml"] = write_build_recipe(options, engine, typed.record).encode()

        opened = bundle.manifest

        def add(manifest: Manifest) -> Manifest:
            onnx = {**unless_exported_anew(manifest, opened, bundle.path).onnx, typed.key: typed.record}
            engines = {**manifest.engines, request.name: engine}
            if typed.record.file in typed.files:  # it is new: other engines built from the old one are outdated
                engines = {k: e for k, e in engines.items() if k == request.name or e.source != typed.record.file}
            dropped = {f for name, e in manifest.engines.items() for f in _files_of(name, e)}
            kept = {f for name, e in engines.items() for f in _files_of(name, e)}
            records = {f: record for f, record in manifest.files.items() if f not in dropped - kept}
            return manifest.model_copy(update={"onnx": onnx, "engines": engines, "files": records})

        for line in _warnings(engine, request.name):
            on_note(line)
        on_step("writing the bundle")
        before = set(bundle.manifest.engines)
        bundle.update(files, add)
        for gone in sorted(before - set(bundle.manifest.engines)):
            on_note(f"note: removed {gone}, which was built from the former {typed.record.file}: build it again")
    return engine


@dataclass(frozen=True)
class _Made:
    """A typed model and how it is to be built."""

    typed: TypedResult
    lowering: tuple[str, ...]
    inference_precision: str | None
    search: SearchResult | None = None
    files: dict[str, bytes] = field(default_factory=dict)


def _make_model(
    bundle: Bundle,
    name: str,
    backend: Backend,
    options: BuildOptions,
    on_step: OnStep,
    on_count: OnStage,
    on_note: OnStep,
) -> _Made:
    if options.budget is None:
        floats = None if options.fp32_groups is None else dict.fromkeys(options.fp32_groups, "asked for")
        typed = make_typed_model(bundle, options.precision, name, options.how_to_calibrate, floats, on_count)
        for note in typed.notes:
            on_note(note)
        return _Made(typed, options.lowering, options.inference_precision)
    from segdino_deploy.engines.precision.budget.held_out import read_held_out
    from segdino_deploy.engines.precision.budget.plan import find_plan

    on_step("reading held-out images")
    held_out = read_held_out(bundle.manifest.model, options.budget.held_out)
    images = len(held_out.images)
    on_note(f"budget: at most {options.budget.max_drop:g} {held_out.drop_unit} on {images} held-out images")
    source = make_int8_source(bundle, name, options.how_to_calibrate, on_count)
    for note in source.notes:
        on_note(note)
    opened = bundle.manifest
    # a budget that is missed must not cost the calibration
    bundle.update(source.files, lambda manifest: unless_exported_anew(manifest, opened, bundle.path))
    how = (options.lowering, options.inference_precision)
    found = find_plan(bundle, name, backend, source, options.budget, held_out, how, on_step, on_count)
    for note in found.notes:
        on_note(note)
    typed = int8_result(bundle, source, found.floats)
    return _Made(
        typed,
        options.lowering,
        found.search.inference_precision,
        found.search,
        found.files(f"{name}-int8"),
    )


def _search_of_the_same(manifest: Manifest, name: str, engine: Engine, typed: TypedResult) -> object:
    """What the search found that made the engine before this one, where both are of one model and spelled alike."""
    known = manifest.engines.get(name)
    if known is None or typed.record.file in typed.files or "budget" not in known.receipt:
        return None
    spelled = [[record.chosen for record in made.lowering if record.chosen != AS_EXPORTED] for made in (known, engine)]
    return known.receipt["budget"] if spelled[0] == spelled[1] else None


def _files_of(name: str, engine: Engine) -> tuple[str, ...]:
    """What belongs to one engine alone: its files, its recipe, the report of its search."""
    report = tuple(f"report/{name}.{suffix}" for suffix in ("json", "md", "png")) if "budget" in engine.receipt else ()
    return (engine.file, *engine.companions, f"{ENGINES}/{name}.toml", *report)


def _warnings(engine: Engine, name: str) -> list[str]:
    """The first of the builder's own warnings, if any."""
    warnings = engine.receipt.get("warnings", [])
    if not warnings:
        return []
    count = f"{len(warnings)} warnings, all of them in the manifest, such as" if len(warnings) > 1 else "one warning:"
    return [f"note: the builder of {name} gave {count} {one_line(Exception(warnings[0]))}"]


def _describe(built: BuiltEngine, request: BuildRequest, backend: str, source: str, seconds: float) -> Engine:
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
        build_seconds=seconds,
    )


def run_canary(name: str, engine: Engine, file: Path, canary: Canary, card: ModelCard) -> CanaryRecord:
    """The engine's answer. CheckFailed where it is wrong, MissingComponent where it cannot run here."""
    with RUNNERS[engine.backend](card, engine, file, None) as runner:
        outputs = runner.run({INPUT: canary.image})
    record = check_heads(canary.logits, outputs, card.thresholds, engine.precision)
    if not record.passed:
        raise CheckFailed(f"{name}: the engine fails its canary ({record.detail}); nothing was replaced")
    return record
