"""From a budget to a plan: everything between the prepared int8 model and the typed one that is built."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
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
from segdino_deploy.engines.precision.budget.held_out import HeldOut
from segdino_deploy.engines.precision.budget.options import Budget
from segdino_deploy.engines.precision.budget.record import SearchResult
from segdino_deploy.engines.precision.budget.report import markdown, plot_png
from segdino_deploy.engines.precision.budget.search import Search, fastest, recommend
from segdino_deploy.engines.precision.typed import Int8Source, make_typed_model
from segdino_deploy.errors import CheckFailed, SegdinoDeployError, one_line
from segdino_deploy.export.graph import load_onnx
from segdino_deploy.export.operations import count_multiply_adds, infer_shapes
from segdino_deploy.export.verify import onnx_logits
from segdino_deploy.manifest import Precision, output_name
from segdino_deploy.progress import OnStage, OnStep, ignore
from segdino_deploy.timing import every_round, interleave, median_ratio

ROUNDS = 5
WORTH = 1.05  # times faster that a 16-bit inference precision must be to be taken instead of f32


@dataclass(frozen=True)
class PlanFound:
    """The search and how its plan is to be built."""

    search: SearchResult
    floats: dict[str, str] = field(default_factory=dict)  # groups in fp32, with the reason

    @property
    def notes(self) -> list[str]:
        """Lines that the user should read."""
        found = [self.search.recommendation]
        if self.search.unjudged_heads:
            heads = ", ".join(self.search.unjudged_heads)
            found.append(f"warning: the budget is in Dice of one head; {heads} was judged by nothing but the table")
        return found

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
            f"nothing was replaced: {search.recommendation}"
        )
        self.search = search


def find_plan(
    bundle: Bundle,
    name: str,
    backend: Backend,
    source: Int8Source,
    budget: Budget,
    held_out: HeldOut,
    how: tuple[tuple[str, ...], str | None] = ((AUTO,), None),
    on_step: OnStep = ignore,
    on_count: OnStage = ignore,
) -> PlanFound:
    """Measures and searches. `how`: spellings and inference precision, as in `BuildOptions`. Raises BudgetMissed.

    A target that cannot run here is judged by ONNX Runtime, which computes Q/DQ as the file says, and not timed.
    """
    card = bundle.manifest.model
    on_step("masks of the fp32 model on the held-out images")
    fp32 = load_onnx(bundle.file(bundle.manifest.onnx["fp32"].file))
    held_out.reference.update(held_out.masks(open_onnxruntime(fp32, None)))
    open_model = backend.open_model
    all_int8 = source.model({})
    image = held_out.images[0][None].repeat(card.batch.min, axis=0)
    lowering, asked_precision = how
    inference_precision = asked_precision or _fastest(backend, "int8", all_int8, image)
    canary = Canary.read(bundle.file(CANARY)).image

    def choose(model: onnx.ModelProto, computes_in: str | None, precision: Precision) -> tuple[str, ...]:
        """The spellings of a model, measured; other models of its kind are spelled alike."""
        if lowering != (AUTO,) or open_model is None:
            return () if lowering in ((AUTO,), (NONE,)) else lowering
        answer = {output_name(head, "logits"): logits for head, logits in onnx_logits(model)(canary).items()}

        def open_canary(variant: onnx.ModelProto) -> Callable[[], Mapping[str, NDArray[np.generic]]]:
            assert open_model is not None
            return partial(open_model(variant, computes_in), canary)

        _, records = choose_lowerings(model, name, open_canary, answer, EXTRA_ERROR[precision], on_step)
        return tuple(record.chosen for record in records if record.chosen != AS_EXPORTED)

    names = choose(all_int8, inference_precision, "int8")

    def open_spelled(model: onnx.ModelProto) -> RunImage:
        return (open_model or open_onnxruntime)(spelled(model, names), inference_precision)

    float_names = choose(fp32, "f32", "fp32") if open_model is not None else ()
    others: dict[str, RunImage] = {}
    for precision in _rivals(name):
        if open_model is None:
            break
        try:
            model = spelled(make_typed_model(bundle, precision, name).model, float_names)
            others[precision] = open_model(model, _fastest(backend, precision, model, image))
        except (SegdinoDeployError, RuntimeError) as error:  # int8 may be the only one that this model allows
            on_step(f"{precision} cannot be measured beside int8: {one_line(error)}")
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
    chosen = fastest(points, None if search.is_timed else search.multiply_adds)
    plans = [point for point in points if point.is_plan]
    result = SearchResult(
        backend=name,
        max_drop=budget.max_drop,
        drop_unit=held_out.drop_unit,
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
        unjudged_heads=[h.name for h in card.heads if held_out.has_truth and h.name != held_out.head.name],
    )
    if chosen is None:
        raise BudgetMissed(result)
    return PlanFound(result, _reasons(result, chosen.floats))


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


def spelled(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """The model with those of the named spellings that find something to rewrite in it."""
    for entry in names:
        model = LOWERINGS[entry].rewrite(model) or model
    return model


def _rivals(backend: str) -> tuple[Precision, ...]:
    """The precisions beside int8. ONNX Runtime's CPU provider computes fp16 in fp32, and has no bf16."""
    return ("fp32",) if backend == "onnxruntime" else ("fp32", "fp16", "bf16")


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
