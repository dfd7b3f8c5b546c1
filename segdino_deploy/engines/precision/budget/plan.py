"""From a budget to a plan: everything between the prepared int8 model and the typed one that is built."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import onnx
from numpy.typing import NDArray

from segdino_deploy.bundle import CANARY, Bundle
from segdino_deploy.canary import Canary
from segdino_deploy.engines.build.contract import Backend, RunImage
from segdino_deploy.engines.build.onnxruntime import open_model as open_onnxruntime
from segdino_deploy.engines.lowering import LOWERINGS
from segdino_deploy.engines.lowering.choose import AS_EXPORTED, AUTO, EXTRA_ERROR, NONE, choose_lowerings
from segdino_deploy.engines.precision.budget.held_out import read_held_out
from segdino_deploy.engines.precision.budget.options import Budget
from segdino_deploy.engines.precision.budget.record import SearchResult
from segdino_deploy.engines.precision.budget.report import markdown, plot_png
from segdino_deploy.engines.precision.budget.search import Search, fastest, recommend
from segdino_deploy.engines.precision.typed import Int8Source, make_typed_model
from segdino_deploy.errors import CheckFailed
from segdino_deploy.export.graph import load_onnx
from segdino_deploy.export.operations import count_multiply_adds, infer_shapes
from segdino_deploy.export.verify import onnx_logits
from segdino_deploy.manifest import LoweringRecord, Precision, output_name
from segdino_deploy.progress import OnStage, OnStep, ignore
from segdino_deploy.timing import every_round, interleave, median_ratio

OTHER_PRECISIONS: tuple[Precision, ...] = ("fp16", "bf16")  # measured beside int8 for the recommendation
ROUNDS = 5
WORTH = 1.05  # times faster that a 16-bit inference precision must be to be taken instead of f32


@dataclass(frozen=True)
class PlanFound:
    """The search and how its plan is to be built."""

    search: SearchResult
    floats: dict[str, str] = field(default_factory=dict)  # groups in fp32, with the reason
    lowering: list[LoweringRecord] = field(default_factory=list)

    def lowering_of(self, model: onnx.ModelProto, asked: tuple[str, ...]) -> tuple[str, ...]:
        """How the chosen model is to be spelled: as it was measured, or as the user asked."""
        if asked != (AUTO,):
            return asked
        fitting = tuple(name for name in self.search.lowering if LOWERINGS[name].rewrite(model) is not None)
        return fitting or (NONE,)

    def files(self, name: str) -> dict[str, bytes]:
        """The report, by name in the bundle."""
        found = {
            f"report/{name}.json": (self.search.model_dump_json(indent=1) + "\n").encode(),
            f"report/{name}.md": markdown(self.search).encode(),
        }
        picture = plot_png(self.search)
        return found if picture is None else {**found, f"report/{name}.png": picture}


class BudgetMissed(CheckFailed):
    """No plan keeps the budget; `search` holds what was measured."""

    def __init__(self, search: SearchResult) -> None:
        best = search.point(search.best)
        super().__init__(
            f"no int8 plan keeps the budget of {search.max_drop:g} {search.drop_unit}; the best one found is "
            f"{best.name!r} with {best.loss.drop:.4f} (% of pixels changed: {best.loss.changed_percent:.4f}); "
            "nothing was replaced: allow more with --max-drop, or use --fp16"
        )
        self.search = search


def find_plan(
    bundle: Bundle,
    name: str,
    backend: Backend,
    source: Int8Source,
    budget: Budget,
    lowering: tuple[str, ...] = (AUTO,),
    on_step: OnStep = ignore,
    on_count: OnStage = ignore,
) -> PlanFound:
    """Measures and searches. Raises InputError (held-out images), BudgetMissed.

    A target that cannot run here is judged by ONNX Runtime, which computes Q/DQ as the file says, and not timed.
    """
    card = bundle.manifest.model
    on_step("reading held-out images")
    fp32 = load_onnx(bundle.file(bundle.manifest.onnx["fp32"].file))
    held_out = read_held_out(card, budget.held_out, open_onnxruntime(fp32, None))
    open_model = backend.open_model
    all_int8 = source.model({})
    image = held_out.images[0][None].repeat(card.batch.min, axis=0)
    inference_precision = _fastest(backend, "int8", all_int8, image)
    records: list[LoweringRecord] = []
    names: tuple[str, ...] = () if lowering in ((AUTO,), (NONE,)) else lowering
    if lowering == (AUTO,) and open_model is not None:
        canary = Canary.read(bundle.file(CANARY))
        answer = onnx_logits(all_int8)(canary.image)  # what engines of this model must answer
        logits = {output_name(head, "logits"): values for head, values in answer.items()}

        def open_canary(model: onnx.ModelProto) -> Callable[[], Mapping[str, NDArray[np.generic]]]:
            assert open_model is not None
            return partial(open_model(model, inference_precision), canary.image)

        _, records = choose_lowerings(all_int8, name, open_canary, logits, EXTRA_ERROR["int8"], on_step)
        names = tuple(record.chosen for record in records if record.chosen != AS_EXPORTED)

    def spelled(model: onnx.ModelProto) -> onnx.ModelProto:
        for entry in names:
            model = LOWERINGS[entry].rewrite(model) or model
        return model

    def open_spelled(model: onnx.ModelProto) -> RunImage:
        return (open_model or open_onnxruntime)(spelled(model), inference_precision)

    others: dict[str, RunImage] = {
        precision: backend.open_model(spelled(model), _fastest(backend, precision, spelled(model), image))
        for precision, model in _others(bundle, name, fp32).items()
        if backend.open_model is not None
    }

    search = Search(
        quantize=lambda floats: source.model(dict.fromkeys(floats, "")),
        open_model=open_spelled,
        groups=source.conditioned.groups,
        multiply_adds=_multiply_adds(source),
        held_out=held_out,
        max_drop=budget.max_drop,
        is_timed=open_model is not None,
        on_count=on_count,
    )
    sensitivities, points = search.run(others)
    chosen = fastest(points, search.is_timed)
    plans = [point for point in points if point.is_plan]
    result = SearchResult(
        backend=name,
        max_drop=budget.max_drop,
        drop_unit="Dice points" if held_out.has_truth else "% of pixels changed",
        held_out_images=len(held_out.images),
        also_calibrated_on=len(set(source.calibration.image_sha256).intersection(held_out.sha256)),
        inference_precision=inference_precision,
        lowering=list(names),
        groups=list(search.groups),
        sensitivities=sensitivities,
        points=points,
        chosen=None if chosen is None else chosen.name,
        best=min(plans, key=lambda point: (point.loss.drop, point.loss.changed_percent)).name,
        recommendation=recommend(chosen, points),
    )
    if chosen is None:
        raise BudgetMissed(result)
    return PlanFound(result, _reasons(result, chosen.floats), records)


def _fastest(backend: Backend, precision: Precision, model: onnx.ModelProto, image: NDArray[np.uint8]) -> str | None:
    """What the backend computes in where it has a choice.

    The first candidate loses least; another must be clearly faster, by the median over the rounds and by the best one.
    """
    if backend.open_model is None or backend.inference_precisions is None:
        return None
    first, *rest = backend.inference_precisions(precision)
    if not rest:
        return first
    runs = {name: partial(backend.open_model(model, name), image) for name in (first, *rest)}
    samples = interleave({name: every_round(run) for name, run in runs.items()}, ROUNDS, warmup=1)
    chosen, best = first, WORTH
    for name in rest:
        faster = min(median_ratio(samples[first], samples[name]), min(samples[first]) / min(samples[name]))
        if faster > best:
            chosen, best = name, faster
    return chosen


def _others(bundle: Bundle, name: str, fp32: onnx.ModelProto) -> dict[Precision, onnx.ModelProto]:
    """The typed models of the other precisions that the backend takes."""
    found: dict[Precision, onnx.ModelProto] = {"fp32": fp32}
    if name != "onnxruntime":  # whose CPU provider computes fp16 in fp32, and has no bf16
        found |= {precision: make_typed_model(bundle, precision, name).model for precision in OTHER_PRECISIONS}
    return found


def _multiply_adds(source: Int8Source) -> dict[str, int]:
    shapes = infer_shapes(source.conditioned.model)
    nodes = {node.name: node for node in source.conditioned.model.graph.node}
    found: dict[str, int] = {}
    for product in source.conditioned.products:
        count = count_multiply_adds(nodes[product.node], shapes)
        found[product.group] = found.get(product.group, 0) + count
    return found


def _reasons(result: SearchResult, floats: Collection[str]) -> dict[str, str]:
    entries = {entry.group: entry for entry in result.sensitivities}
    return {
        group: (
            "int8 saves no time here"
            if entries[group].saved <= 0
            else f"alone in int8 it changes {entries[group].loss.changed_percent:.4f}% of the held-out pixels"
        )
        for group in floats
    }
