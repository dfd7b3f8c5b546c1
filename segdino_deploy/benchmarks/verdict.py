"""Whether engines keep the accuracy budget of `--max-drop`. The estimate decides; its interval is told beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.benchmarks.accuracy.summary import differences
from segdino_deploy.benchmarks.metrics import parse_key
from segdino_deploy.benchmarks.result import Accuracy, BenchResult, Interval, Row, Verdict
from segdino_deploy.benchmarks.statistics import ENOUGH_IMAGES, interval_of_mean
from segdino_deploy.errors import CheckFailed, InputError

ROUNDING = 1e-9  # of a drop that equals the budget: 100 * (1 - 0.99998) is a little above 0.002
MIN_REFERENCE_DICE = 0.1  # with less the reference finds next to nothing, and an engine has nothing to lose


@dataclass(frozen=True)
class Drop:
    """What an engine lost, image by image."""

    per_image: NDArray[np.float64]
    unit: Literal["Dice points", "% of pixels changed"]
    head: str = ""  # that was scored, or whose pixels changed


def judge(rows: Sequence[Row], budget: float, scored_head: str = "", seed: int = 0) -> list[Verdict]:
    """Verdicts for each row but the first, the reference.

    With truth the drop is 100 x (mean Dice of the reference - mean Dice of the engine) over the images where both have
    one; of several classes the macro Dice. The truth is `scored_head`'s: of the other heads the one that agrees least
    has a verdict of its own, and without truth there is no other: the drop is 100 x (1 - mean agreement), and the
    budget is percent of pixels. Where the reference's own mean Dice is below `MIN_REFERENCE_DICE`, no engine passes.
    InputError: no images were scored, or the budget is no number from 0 on.
    """
    if not (math.isfinite(budget) and budget >= 0):
        raise InputError(f"--max-drop: {budget:g} is not a number from 0 on: name Dice points, or percent of pixels")
    reference = _accuracy(rows[0])
    return [
        _verdict(row.name, drop, reference, budget, seed)
        for row in rows[1:]
        for drop in _drops(row, reference, scored_head)
    ]


def require_kept(result: BenchResult) -> None:
    """CheckFailed where an engine misses the budget of the run, or where nothing was judged by it, with the reasons."""
    if result.passed:
        return
    if result.verdicts:
        findings = [verdict.detail for verdict in result.verdicts if not verdict.passed]
        not_run = [f"not judged, as not run here: {', '.join(result.not_run)}"] if result.not_run else []
        raise CheckFailed(f"--max-drop: {'; '.join([*findings, *not_run])}")
    reasons = [f"{name} was not run here ({reason})" for name, reason in result.not_run.items()]
    why = "; ".join(reasons) or f"{result.bundle} has no engine: build one with build-engine"
    raise CheckFailed(f"--max-drop: no engine was judged: {why}")


def _drops(row: Row, reference: Accuracy, scored_head: str) -> list[Drop]:
    """Of the scored head, and of the head without scores that changed most."""
    accuracy, drops = _accuracy(row), []
    agreements = [key for key in accuracy.per_image if parse_key(key).metric == "agreement"]
    if "dice" in accuracy.per_image:
        lost = 100 * differences(reference.per_image["dice"], accuracy.per_image["dice"])
        drops.append(Drop(lost, "Dice points", scored_head))
        agreements = [key for key in agreements if parse_key(key).head != scored_head]
    if agreements or not drops:
        drops.append(_most_changed(accuracy, agreements))
    if not all(drop.per_image.size for drop in drops):
        raise InputError(f"--max-drop: {row.name} has no image that can be compared; name others with --data")
    return drops


def _most_changed(accuracy: Accuracy, keys: Sequence[str]) -> Drop:
    changes = {key: 100 * differences([1.0] * len(accuracy.per_image[key]), accuracy.per_image[key]) for key in keys}
    known = {key: change for key, change in changes.items() if change.size}
    worst = max(known, key=lambda key: float(known[key].mean()), default="agreement")
    return Drop(known.get(worst, np.empty(0)), "% of pixels changed", parse_key(worst).head)


def _accuracy(row: Row) -> Accuracy:
    if row.accuracy is None:
        raise InputError("--max-drop: needs images: name them with --data")
    return row.accuracy


def _verdict(engine: str, lost: Drop, reference: Accuracy, budget: float, seed: int) -> Verdict:
    drop = float(lost.per_image.mean())
    interval = interval_of_mean(lost.per_image, seed)
    own = reference.summary["dice"].mean if lost.unit == "Dice points" else None
    is_judged = own is None or own >= MIN_REFERENCE_DICE
    passed = is_judged and drop <= budget + ROUNDING
    outcome = _outcome(passed, lost, interval, budget)
    if own is not None and not is_judged:
        outcome = (
            f"but the reference's own mean Dice is {own:.3f}, so the budget of {budget:g} cannot be judged: name the "
            "masks' foreground with --foreground, whose masks they are with --head, or other masks with --mask-dir"
        )
    return Verdict(
        engine=engine,
        head=lost.head,
        passed=passed,
        is_judged=is_judged,
        drop=drop,
        unit=lost.unit,
        budget=budget,
        images=lost.per_image.size,
        interval=interval,
        detail=f"{engine} {_finding(lost, drop, interval)}, {outcome}",
    )


def _finding(lost: Drop, drop: float, interval: Interval | None) -> str:
    images = "1 image" if lost.per_image.size == 1 else f"{lost.per_image.size} images"
    between = f" (95% interval {_number(interval.low)} to {_number(interval.high)})" if interval else ""
    if lost.unit == "Dice points":
        head = f" of head {lost.head}" if lost.head else ""
        return f"drops by {_number(drop)} Dice points{head}{between} over {images}"
    pixels = f"the pixels of head {lost.head}" if lost.head else "the pixels"
    return f"changes {_number(drop)}% of {pixels}{between} over {images}"


def _outcome(passed: bool, lost: Drop, interval: Interval | None, budget: float) -> str:
    images = lost.per_image.size
    allowed = f"the budget of {budget:g}" + ("" if lost.unit == "Dice points" else "% of pixels")
    if not passed:
        return f"more than {allowed}"
    within = f"within {allowed}"
    few = "one image" if images == 1 else "so few images"
    if interval is not None and interval.high > budget + ROUNDING:
        who = few if images < ENOUGH_IMAGES else "these images"
        return f"{within}, but the interval passes it: {who} cannot settle it"
    return f"{within}, but {few} cannot settle it" if images < ENOUGH_IMAGES else within


def _number(value: float) -> str:
    return f"{round(value, 3) + 0.0:.3f}"  # without the sign of -0.000
