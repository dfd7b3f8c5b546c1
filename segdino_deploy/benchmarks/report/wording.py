"""Numbers as words: digits, units and intervals, the same on every page."""

from __future__ import annotations

from segdino_deploy.benchmarks.metrics import AGREEMENTS, METRICS, Key
from segdino_deploy.benchmarks.report.table import ABSENT, Cell
from segdino_deploy.benchmarks.result import BenchResult, Interval, MetricSummary, Ratio

WORSE, BETTER = "worse", "better"


def ms_digits(result: BenchResult) -> int:
    """Digits behind the point of milliseconds, the same for a whole report: about three that say something."""
    fastest = min(row.speed.engine_only.p50_ms for row in result.rows)
    return 1 if fastest >= 5 else 2 if fastest >= 0.5 else 3


def number_cell(value: float | None, digits: int) -> Cell:
    return Cell(ABSENT) if value is None else Cell(fixed(value, digits), value)


def ratio_cell(ratio: Ratio | None) -> Cell:
    """`3.10 [3.05, 3.16]`; of the reference itself, and of too few rounds for an interval, `1.00`."""
    if ratio is None:
        return Cell(ABSENT)
    interval = ratio.interval
    is_exact = interval is not None and interval.low == interval.high == ratio.value
    return Cell(f"{ratio.value:.2f}", ratio.value, "" if interval is None or is_exact else brackets(interval, 2))


def mean_cell(summary: MetricSummary | None, key: Key) -> Cell:
    """The mean, and of how many images there is none: never hidden in a mean of the others."""
    if summary is None:
        return Cell(ABSENT)
    why = "infinite" if key.metric == "hd95" else "not defined"
    left_out = f"({summary.left_out} {why})" if summary.left_out else ""
    if summary.mean is None:
        return Cell(ABSENT, detail=left_out)
    return Cell(fixed(summary.mean, METRICS[key.metric].digits), summary.mean, left_out)


def change_cell(summary: MetricSummary | None, key: Key) -> Cell:
    """`-0.0123 [-0.0150, -0.0098] worse`: a word only where zero lies outside the interval."""
    if summary is None or summary.difference is None:
        return Cell(ABSENT)
    if summary.difference == 0 and is_nothing(summary.difference_interval):
        return Cell("0", 0.0)
    digits = change_digits(key)
    detail = "" if summary.difference_interval is None else brackets(summary.difference_interval, digits, signed=True)
    return Cell(fixed(summary.difference, digits, signed=True), summary.difference, detail, direction(summary, key))


def change_digits(key: Key) -> int:
    """One more than of the metric itself: changes are smaller."""
    return METRICS[key.metric].digits + (key.metric not in AGREEMENTS)


def direction(summary: MetricSummary, key: Key) -> str:
    """`worse`, `better`, or nothing where the interval holds zero. Agreement with oneself can only fall: nothing."""
    interval = summary.difference_interval
    if interval is None or interval.low <= 0 <= interval.high or key.metric in AGREEMENTS:
        return ""
    return BETTER if (interval.low > 0) is METRICS[key.metric].is_higher_better else WORSE


def is_nothing(interval: Interval | None) -> bool:
    return interval is None or interval.low == interval.high == 0


def brackets(interval: Interval, digits: int, signed: bool = False) -> str:
    return f"[{fixed(interval.low, digits, signed)}, {fixed(interval.high, digits, signed)}]"


def between(interval: Interval, digits: int, signed: bool = False) -> str:
    """In a sentence."""
    return f"95% interval {fixed(interval.low, digits, signed)} to {fixed(interval.high, digits, signed)}"


def fixed(value: float, digits: int, signed: bool = False) -> str:
    """Fixed digits behind the point. Signed: `-0.000` is a little below zero, `0.000` is zero."""
    if signed:
        return f"{value:+.{digits}f}" if value else f"{0:.{digits}f}"
    return f"{value:.{digits}f}" if round(value, digits) else f"{0:.{digits}f}"


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
