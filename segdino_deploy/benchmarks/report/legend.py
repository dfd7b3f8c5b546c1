"""What the colours of the pictures mean."""

from __future__ import annotations

from segdino_deploy.benchmarks.differences.pictures import legend
from segdino_deploy.benchmarks.result import BenchResult


def legend_of(result: BenchResult) -> str:
    """Of the pixels that differ; heads of one class and of several are marked in two ways."""
    return " ".join(dict.fromkeys(legend(head.num_classes) for head in result.model.heads))
