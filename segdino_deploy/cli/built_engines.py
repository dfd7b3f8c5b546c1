"""What `build-engine` prints of engines that are built."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segdino_deploy.cli.console import print_json, print_line, print_table

if TYPE_CHECKING:
    from segdino_deploy.bundle import Bundle
    from segdino_deploy.manifest import Engine, TypedModel

ENGINE_COLUMNS = ("engine", "MB", "build s", "weight products", "canary")


def print_engines(bundle: Bundle, engines: Sequence[Engine]) -> None:
    """A table, where there are several."""
    if len(engines) > 1:
        print_table(ENGINE_COLUMNS, [_row(bundle, engine) for engine in engines])


def print_failure(engines: Sequence[Engine], error: BaseException) -> None:
    """As JSON: what was built before a build failed, and what a search measured; nothing where there is neither."""
    from segdino_deploy.engines.precision.budget.plan import BudgetMissed

    found: dict[str, Any] = {"engines": [engine.model_dump(mode="json") for engine in engines]}
    if isinstance(error, BudgetMissed):
        print_json({**found, "missed": error.search.model_dump(mode="json")})
    elif engines:
        print_json({**found, "error": str(error) or type(error).__name__})


def _source(bundle: Bundle, engine: Engine) -> TypedModel:
    return next(model for model in bundle.manifest.onnx.values() if model.file == engine.source)


def _row(bundle: Bundle, engine: Engine) -> list[str]:
    """One line of the table after several builds."""
    size = sum(bundle.manifest.files[name].size_bytes for name in (engine.file, *engine.companions))
    seconds = "-" if engine.build_seconds is None else f"{engine.build_seconds:.1f}"
    products = engine.receipt.get("weight_products") or _source(bundle, engine).weight_products
    types = ", ".join(f"{count} {precision}" for precision, count in products.items())
    canary = "not run here" if engine.canary is None else f"{100 * engine.canary.mask_agreement:.3f}%"
    return [Path(engine.file).stem, f"{size / 1e6:.1f}", seconds, types, canary]


def print_search(result: object) -> None:
    """The table of a search for an int8 plan."""
    from segdino_deploy.engines.precision.budget.record import SearchResult
    from segdino_deploy.engines.precision.budget.report import COLUMNS, rows

    assert isinstance(result, SearchResult)
    print_line(
        f"int8 for {result.backend}, at most {result.max_drop:g} {result.drop_unit}, "
        f"{result.held_out_images} held-out images:"
    )
    print_table(COLUMNS, rows(result))
    if result.also_calibrated_on:
        count = result.also_calibrated_on
        print_line(f"warning: {count} of the held-out images {'was' if count == 1 else 'were'} calibrated on, too")


def describe(engine: Engine) -> str:
    """One line: what runs in which type, and what the canary said."""
    from segdino_deploy.engines.lowering.choose import AS_EXPORTED

    inside = f"computes in {engine.inference_precision}, " if engine.inference_precision else ""
    note = engine.receipt.get("note")
    inside += f"{note}, " if note else ""
    spelled = [record.chosen for record in engine.lowering if record.chosen != AS_EXPORTED]
    inside += f"respelled {', '.join(spelled)}, " if spelled else ""
    if engine.canary is None:
        return f"{inside}canary not run: this machine cannot run {engine.backend} engines"
    records = engine.canary.heads or [engine.canary]
    shares = ", ".join(f"{record.head} {100 * record.mask_agreement:.3f}%".lstrip() for record in records)
    agreement = f"same class in {shares} of the canary's pixels"
    return f"{inside}canary passed, {agreement}"
