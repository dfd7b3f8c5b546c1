"""The search: every group alone, what each kind of layer saves, then the fastest plan that keeps the budget.

Plans form a sequence: groups become fp32 one after the other, those first that lose most for the time they save. The
shortest beginning of it that keeps the budget is found by halving, then groups that need not be fp32 after all are
taken back. Each plan is judged by running it whole: losses of single groups do not add up.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import onnx

from segdino_deploy.engines.build.contract import RunImage
from segdino_deploy.engines.precision.budget.held_out import HeldOut
from segdino_deploy.engines.precision.budget.record import Loss, Point, Sensitivity
from segdino_deploy.engines.precision.int8.products import layer_kind
from segdino_deploy.progress import OnStage, ignore
from segdino_deploy.timing import every_round, interleave, median_ratio

ALL_INT8 = "all int8"
ROUNDS = 9
TAKE_BACK = 6  # groups that are tried in int8 again, those that save most first
TIMED = 3  # plans within the budget that are timed, those expected to be fastest; and as many that show the trade
PARETO = (0.25, 0.5, 0.75)  # of the sequence: plans measured only to show the trade

Open = Callable[[onnx.ModelProto], RunImage]
Quantize = Callable[[Collection[str]], onnx.ModelProto]  # groups that stay fp32 -> typed model


@dataclass
class Search:
    """One search. `is_timed`: False where the target cannot run here; then multiply-adds stand in for time."""

    quantize: Quantize
    open_model: Open
    groups: Sequence[str]
    multiply_adds: Mapping[str, int]  # by group
    held_out: HeldOut
    max_drop: float
    is_timed: bool
    on_count: OnStage = ignore
    losses: dict[frozenset[str], Loss] = field(default_factory=dict)

    def run(self, others: Mapping[str, RunImage]) -> tuple[list[Sensitivity], list[Point]]:
        """Sensitivities, and the points: plans and `others` (other precisions, by name, opened)."""
        saved = self._saved()
        sensitivities = self._sensitivities(saved)
        plans = self._plans(sensitivities)
        return sensitivities, self._points(plans, others, saved)

    def _saved(self) -> dict[str, float]:
        """By group: milliseconds that int8 saves, each kind of layer measured as a whole in one interleaved run."""
        if not self.is_timed:
            return {group: float(self.multiply_adds[group]) for group in self.groups}
        by_kind: dict[str, list[str]] = {}
        for group in self.groups:
            by_kind.setdefault(layer_kind(group), []).append(group)
        image = self._image()
        base = partial(self._open([]), image)
        saved: dict[str, float] = {}
        for index, members in enumerate(by_kind.values()):
            runs = {"int8": every_round(base), "fp32": every_round(partial(self._open(members), image))}
            samples = interleave(runs, ROUNDS, warmup=1)
            # The ratio is taken round by round, so that a machine that drifts in between does not count.
            ratio = median_ratio(samples["fp32"], samples["int8"])
            difference = statistics.median(samples["int8"]) * (ratio - 1)
            work = sum(self.multiply_adds[member] for member in members)
            saved |= {member: difference * self.multiply_adds[member] / work for member in members}
            self.on_count("timing kinds of layers", index + 1, len(by_kind))
        return saved

    def _sensitivities(self, saved: Mapping[str, float]) -> list[Sensitivity]:
        few = self.held_out.few()
        # With nothing in int8 a 16-bit inference precision loses something, too: that is no group's fault.
        base = few.loss(self._open(self.groups))
        found = []
        for index, group in enumerate(self.groups):
            run = self._open([other for other in self.groups if other != group])
            found.append(Sensitivity(group=group, loss=few.loss(run).above(base), saved=round(saved[group], 4)))
            self.on_count("sensitivity of groups", index + 1, len(self.groups))
        return found

    def _plans(self, sensitivities: Sequence[Sensitivity]) -> list[frozenset[str]]:
        """The plans that were judged."""
        order = fp32_order(sensitivities)
        slow = sum(entry.saved <= 0 for entry in sensitivities) if self.is_timed else 0
        low, high = 0, len(order) - 1  # of groups in fp32; at least one is int8
        steps = max(1, int(np.ceil(np.log2(len(order) + 1)))) + TAKE_BACK + len(PARETO) + 1
        done = 0

        def judge(floats: Collection[str]) -> bool:
            nonlocal done
            done += 1
            self.on_count("judging plans", min(done, steps), steps)
            return self._loss(floats).drop <= self.max_drop

        judge([])
        for share in PARETO:
            judge(order[: int(share * len(order))])
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if judge(order[:middle]) else (middle + 1, high)
        floats = list(order[:low])
        if judge(floats):
            saved = {entry.group: entry.saved for entry in sensitivities}
            for group in sorted(floats[: len(floats) - 1], key=lambda g: -saved[g])[:TAKE_BACK]:
                fewer = [other for other in floats if other != group]
                if judge(fewer):
                    floats = fewer
            # layers that int8 makes slower, or no faster, had better stay fp32; but not all: that is no int8 plan
            slower = set(floats) | {entry.group for entry in sensitivities if entry.saved <= 0}
            if slow and len(slower) < len(self.groups):
                judge(slower)
        return list(self.losses)

    def _points(
        self, plans: Sequence[frozenset[str]], others: Mapping[str, RunImage], saved: Mapping[str, float]
    ) -> list[Point]:
        named = self._named(plans)
        losses = {name: self._loss(floats) for name, floats in named.items()}
        losses |= {name: self.held_out.loss(run) for name, run in others.items()}
        samples: dict[str, list[float]] = {}
        if self.is_timed:
            runs = {name: self._open(named[name]) for name in self._worth_timing(named, losses, saved)} | dict(others)
            contestants = {name: every_round(partial(run, self._image())) for name, run in runs.items()}
            samples = interleave(contestants, ROUNDS, 1, partial(self.on_count, "timing plans"))
        return [
            Point(
                name=name,
                floats=named.get(name, []),
                loss=loss,
                samples_ms=[round(ms, 3) for ms in samples.get(name, [])],
                median_ms=round(statistics.median(samples[name]), 3) if name in samples else None,
                meets_budget=loss.drop <= self.max_drop,
                is_plan=name in named,
            )
            for name, loss in losses.items()
        ]

    def _named(self, plans: Sequence[frozenset[str]]) -> dict[str, list[str]]:
        """Plans by a name that tells them apart."""
        named: dict[str, list[str]] = {}
        for plan in sorted(plans, key=len):
            name = f"int8, {len(plan)} of {len(self.groups)} groups fp32" if plan else ALL_INT8
            again = sum(known.startswith(name) for known in named)
            named[f"{name} ({again + 1})" if again else name] = [group for group in self.groups if group in plan]
        return named

    def _worth_timing(
        self, named: Mapping[str, list[str]], losses: Mapping[str, Loss], saved: Mapping[str, float]
    ) -> list[str]:
        """The plans that may be the fastest within the budget, and a few that show the trade.

        Not all of them: each holds a model in memory while they take turns.
        """
        expected = {name: sum(saved[group] for group in floats) for name, floats in named.items()}
        quick = sorted(named, key=lambda name: expected[name])
        fitting = [name for name in quick if losses[name].drop <= self.max_drop][:TIMED]
        shown = quick[:: max(1, len(quick) // TIMED)][:TIMED]
        return list(dict.fromkeys([*fitting, *shown]))

    def _loss(self, floats: Collection[str]) -> Loss:
        plan = frozenset(floats)
        if plan not in self.losses:
            self.losses[plan] = self.held_out.loss(self._open(plan))
        return self.losses[plan]

    def _open(self, floats: Collection[str]) -> RunImage:
        return self.open_model(self.quantize(floats))

    def _image(self) -> np.ndarray:
        image = self.held_out.images[len(self.held_out.images) // 2]
        return np.repeat(image[None], self.held_out.card.batch.min, axis=0)


def fp32_order(sensitivities: Sequence[Sensitivity]) -> list[str]:
    """Groups in the order in which they become fp32: most pixels changed per unit of time saved first."""
    least = max(1e-9, 1e-3 * max((entry.saved for entry in sensitivities), default=0.0))
    ratio = {entry.group: entry.loss.changed_percent / max(entry.saved, least) for entry in sensitivities}
    return sorted(ratio, key=lambda group: -ratio[group])


def fastest(points: Sequence[Point], multiply_adds: Mapping[str, int] | None) -> Point | None:
    """The fastest plan that keeps the budget.

    `multiply_adds`: by group, where nothing was timed; then the plan with the least work in fp32 counts as fastest.
    """
    fitting = [point for point in points if point.is_plan and point.meets_budget]
    if multiply_adds is not None:
        return min(fitting, key=lambda p: sum(multiply_adds[group] for group in p.floats), default=None)
    timed = [point for point in fitting if point.median_ms is not None]
    return min(timed, key=lambda p: p.median_ms or 0.0, default=None)


def recommend(chosen: Point | None, points: Sequence[Point]) -> str:
    """What to use on this machine, in one sentence with the reason."""
    if chosen is None:
        keeping = [p.name for p in points if not p.is_plan and p.meets_budget]
        return f"allow more with --max-drop{', or use ' + ' or '.join(keeping) if keeping else ''}"
    if chosen.median_ms is None:
        return "nothing could be timed here: measure fp16 beside int8 on the device"
    rivals = [p for p in points if not p.is_plan and p.meets_budget and p.median_ms is not None]
    better = [p for p in rivals if p.median_ms is not None and p.median_ms <= chosen.median_ms]
    if better:
        best = min(better, key=lambda p: p.median_ms or 0.0)
        less = "loses less" if best.loss.drop < chosen.loss.drop else "loses no more than the budget"
        return f"{best.name} is faster here ({best.median_ms:.1f} against {chosen.median_ms:.1f} ms) and {less}: use it"
    if not rivals:
        return f"int8 keeps the budget at {chosen.median_ms:.1f} ms"
    rival = min(rivals, key=lambda p: p.median_ms or 0.0)
    assert rival.median_ms is not None
    return (
        f"int8 is {rival.median_ms / chosen.median_ms:.2f} times as fast as {rival.name} here "
        f"({chosen.median_ms:.1f} against {rival.median_ms:.1f} ms) and keeps the budget: use it"
    )
