"""Tables of two runs side by side."""

from __future__ import annotations

from segdino_deploy.benchmarks.compare import Change, Comparison, EngineChange
from segdino_deploy.benchmarks.metrics import METRICS, parse_key
from segdino_deploy.benchmarks.result import Interval, MetricSummary

ABSENT = "-"


def columns(comparison: Comparison) -> list[str]:
    """Column names: speed, and the macro metrics that both runs have."""
    return ["engine", "x reference, old", "new", "new / old", *(parse_key(key).full_label for key in _keys(comparison))]


def cells(engine: EngineChange, comparison: Comparison) -> list[str]:
    """One engine as text, in the order of `columns`: changes with their intervals."""
    interval = engine.speed.interval
    speed = f"{engine.speed.value:.3f}" + ("" if interval is None else f" ({_span(interval, 3)})")
    ratios = [f"{engine.old_times_faster:.2f}", f"{engine.new_times_faster:.2f}", speed]
    return [engine.name, *ratios, *(_difference(key, engine.metrics.get(key)) for key in _keys(comparison))]


def sentences(comparison: Comparison) -> list[str]:
    """What changed beyond chance, what makes the runs differ, and engines that only one of them has."""
    lines = [_sentence(change) for change in comparison.changes]
    if comparison.engines and not comparison.changes:
        lines.append("nothing changed that the intervals can tell from chance")
    elif comparison.changes:
        lines.append(
            "of 20 numbers that did not change, about one is named all the same: its interval missed by chance"
        )
    lines += comparison.notes
    for names, which in ((comparison.only_old, comparison.old), (comparison.only_new, comparison.new)):
        if names:
            lines.append(f"only in {which}: {', '.join(names)}")
    return lines


def _keys(comparison: Comparison) -> list[str]:
    """Metrics of the images as a whole that any engine has; those of single classes are in the JSON."""
    found = dict.fromkeys(key for engine in comparison.engines for key in engine.metrics)
    return [key for key in found if not parse_key(key).class_name]


def _difference(key: str, summary: MetricSummary | None) -> str:
    if summary is None or summary.difference is None:
        return ABSENT
    digits = METRICS[parse_key(key).metric].digits
    span = f" ({_span(summary.difference_interval, digits, '+')})" if summary.difference_interval else ""
    return f"{summary.difference:+.{digits}f}{span}"


def _span(interval: Interval, digits: int, sign: str = "") -> str:
    return f"{interval.low:{sign}.{digits}f} to {interval.high:{sign}.{digits}f}"


def _sentence(change: Change) -> str:
    if change.what == "speed":
        word = "faster" if change.is_better else "SLOWER"
        return f"{change.engine}: {word}, its speed differs by more than the rounds explain"
    verdict = "better" if change.is_better else "WORSE"
    return f"{change.engine}: {parse_key(change.what).full_label} is {verdict} than before"
