"""Two stored runs side by side: what became faster or slower, better or worse, with the intervals of one run."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from segdino_deploy.benchmarks.accuracy.summary import PerImage, summarise_accuracy
from segdino_deploy.benchmarks.compatible import Compatibility, compatibility
from segdino_deploy.benchmarks.metrics import AGREEMENTS, METRICS, parse_key
from segdino_deploy.benchmarks.result import SCHEMA_VERSION, BenchResult, Entry, Interval, MetricSummary, Ratio, Row
from segdino_deploy.benchmarks.statistics import interval_of_ratio_change
from segdino_deploy.errors import CheckFailed, InputError, one_line

# Two runs of the same engine differ by more than the rounds within either explain: in stored runs by some percent.
SAME_SPEED = Interval(low=0.9, high=1.1)


class EngineChange(Entry):
    """One engine that both runs have. Differences are new minus old, image by image."""

    name: str
    old_times_faster: float  # than the old run's reference
    new_times_faster: float
    speed: Ratio  # new over old of the two: above 1 the engine became faster against its reference
    metrics: dict[str, MetricSummary]  # those that can be compared; empty: none can


class Change(Entry):
    """A change that its interval says is one: it does not hold zero (a metric), or lies outside `SAME_SPEED`."""

    engine: str
    what: str
    is_better: bool


class Comparison(Entry):
    old: str
    new: str
    scored_head: str  # whose Dice is compared
    notes: list[str]  # what makes the runs differ beside the engines, and what is not compared for it
    engines: list[EngineChange]
    only_old: list[str]
    only_new: list[str]
    changes: list[Change]


def read_result(path: Path) -> BenchResult:
    """A stored `report.json`. InputError: no such file, no report, one of another version."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({one_line(error)}); name a report.json that bench wrote") from error
    try:
        result = BenchResult.model_validate_json(content)
    except ValidationError as error:
        if f'"schema_version": {SCHEMA_VERSION}' in content[:200].decode(errors="replace"):
            raise InputError(f"{path}: is damaged ({one_line(error)}); measure again") from error
        raise InputError(
            f"{path}: is no report.json of this version (schema {SCHEMA_VERSION}); measure again with bench"
        ) from error
    if all(row.name != result.reference for row in result.rows):
        raise InputError(f"{path}: is damaged (it has no row of its reference {result.reference!r}); measure again")
    return result


def compare(old: BenchResult, new: BenchResult, old_name: str, new_name: str, seed: int = 0) -> Comparison:
    """What changed from one run to another.

    Speed is compared by each run's ratio to its own reference: two runs are never interleaved, so that milliseconds of
    the one say nothing beside milliseconds of the other; it is called a change only where `compatible` finds that the
    same was measured. Scores are compared image by image where both runs scored the same images by the same truth,
    agreement where the reference is the same as well. InputError: a run without a row of its reference.
    """
    allowed = compatibility(old, new)
    olds = {row.name: row for row in old.rows if row.name != old.reference}
    news = {row.name: row for row in new.rows if row.name != new.reference}
    both = [name for name in news if name in olds]
    references = (old.row(old.reference), new.row(new.reference))
    engines = [_change(olds[name], news[name], references, allowed, seed) for name in both]
    return Comparison(
        old=old_name,
        new=new_name,
        scored_head="" if new.data is None else new.data.scored_head,
        notes=allowed.notes,
        engines=engines,
        only_old=[name for name in olds if name not in news],
        only_new=[name for name in news if name not in olds],
        changes=[change for engine in engines for change in _changes_of(engine, allowed)],
    )


def _change(old: Row, new: Row, references: tuple[Row, Row], allowed: Compatibility, seed: int) -> EngineChange:
    metrics: dict[str, MetricSummary] = {}
    if old.accuracy is not None and new.accuracy is not None:
        before, after = (_comparable(row.per_image, allowed) for row in (old.accuracy, new.accuracy))
        metrics = summarise_accuracy(after, before, seed)
    return EngineChange(
        name=new.name,
        old_times_faster=old.speed.with_copies_ratio.value,
        new_times_faster=new.speed.with_copies_ratio.value,
        speed=interval_of_ratio_change(
            references[0].speed.with_copies.samples_ms,
            old.speed.with_copies.samples_ms,
            references[1].speed.with_copies.samples_ms,
            new.speed.with_copies.samples_ms,
            seed,
        ),
        metrics=metrics,
    )


def _comparable(per_image: PerImage, allowed: Compatibility) -> PerImage:
    return {
        key: values
        for key, values in per_image.items()
        if (allowed.agreement if parse_key(key).metric in AGREEMENTS else allowed.scores)
    }


def _changes_of(engine: EngineChange, allowed: Compatibility) -> list[Change]:
    found, speed = [], engine.speed.interval
    if allowed.speed and speed is not None and (speed.high < SAME_SPEED.low or speed.low > SAME_SPEED.high):
        found.append(Change(engine=engine.name, what="speed", is_better=engine.speed.value > 1))
    for key, summary in engine.metrics.items():
        interval = summary.difference_interval
        if interval is not None and not interval.low <= 0 <= interval.high:
            is_better = (interval.low > 0) is METRICS[parse_key(key).metric].is_higher_better
            found.append(Change(engine=engine.name, what=key, is_better=is_better))
    return found


def require_budget(comparison: Comparison, budget: float) -> None:
    """CheckFailed where an engine lost more than `budget` from the old run to the new one, or is not in the new one.

    Dice points of the scored head where both runs have them; of every other head, and without scores of all, percent
    of pixels that are the reference's. InputError where accuracy was not compared.
    """
    lost = {engine.name: _lost(engine, comparison.scored_head) for engine in comparison.engines}
    unknown = [name for name, drops in lost.items() if not drops]
    if unknown or not (lost or comparison.only_old):
        reasons = "".join(f"; {note}" for note in comparison.notes)
        raise InputError(
            f"--max-drop: {', '.join(unknown) or 'no engine'}: the runs have no scores that can be compared{reasons}"
        )
    over = [
        f"{name} by {drop:.3f} {unit}" for name, drops in lost.items() for unit, drop in drops.items() if drop > budget
    ]
    problems = [f"{', '.join(over)} worse than in {comparison.old}, allowed {budget:g}"] if over else []
    if comparison.only_old:
        problems.append(f"{', '.join(comparison.only_old)} of {comparison.old} is not in {comparison.new}: not judged")
    if problems:
        raise CheckFailed(f"--max-drop: {'; '.join(problems)}")


def _lost(engine: EngineChange, scored_head: str) -> dict[str, float]:
    """What an engine lost by unit: Dice points, and percent of pixels of the heads without a Dice."""
    lost = {}
    for key, summary in engine.metrics.items():
        parsed = parse_key(key)
        is_scored = "dice" in engine.metrics and parsed.head == scored_head
        if summary.difference is None:
            continue
        if key == "dice":
            lost["Dice points"] = -100 * summary.difference
        elif parsed.metric == "agreement" and not is_scored:
            lost["% of pixels" + (f" of head {parsed.head}" if parsed.head else "")] = -100 * summary.difference
    return lost
