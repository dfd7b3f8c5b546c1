"""Which metrics a result has, in order."""

from __future__ import annotations

from segdino_deploy.benchmarks.metrics import METRICS, Key, parse_key
from segdino_deploy.benchmarks.result import BenchResult


def mean_keys(result: BenchResult) -> list[Key]:
    """The metrics over all classes, in the order of `METRICS`."""
    return [key for key in _keys(result) if not key.class_name]


def class_keys(result: BenchResult) -> list[Key]:
    """The metrics of single classes, in the order of `METRICS`, then of the classes."""
    return [key for key in _keys(result) if key.class_name]


def deciding_key(result: BenchResult) -> Key | None:
    """What the plots and sentences are about: Dice where there is truth, else agreement of the head that loses most."""
    keys = mean_keys(result)
    for key in keys:
        if key.metric == "dice":
            return key
    of_agreement = [key for key in keys if key.metric == "agreement"]
    return min(of_agreement, key=lambda key: _lowest_mean(result, key), default=None)


def _keys(result: BenchResult) -> list[Key]:
    accuracy = result.row(result.reference).accuracy
    keys = [parse_key(text) for text in accuracy.summary] if accuracy is not None else []
    order = list(METRICS)
    return sorted(keys, key=lambda key: order.index(key.metric))


def _lowest_mean(result: BenchResult, key: Key) -> float:
    summaries = [row.accuracy.summary.get(key.text) for row in result.rows if row.accuracy is not None]
    return min((entry.mean for entry in summaries if entry is not None and entry.mean is not None), default=1.0)
