"""Latency: all samples of every contestant, in the three ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segdino_deploy.benchmarks.report.plots.strips import draw_strip
from segdino_deploy.benchmarks.report.plots.style import (
    colour_of,
    marker_of,
    name_rows,
    new_figure,
    plain_logarithm,
    spans_decades,
)
from segdino_deploy.benchmarks.report.wording import fixed, ms_digits
from segdino_deploy.benchmarks.result import BenchResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_latency(result: BenchResult) -> Figure:
    """One panel per way, one strip per contestant, the same scale in all panels."""
    ways = {
        "engine only": [(row, row.speed.engine_only) for row in result.rows],
        "with copies": [(row, row.speed.with_copies) for row in result.rows],
        "file to mask": [(row, row.speed.file_to_mask.total) for row in result.rows if row.speed.file_to_mask],
    }
    ways = {name: entries for name, entries in ways.items() if entries}
    medians = [latency.p50_ms for entries in ways.values() for _, latency in entries]
    figure = new_figure(sum(0.42 * len(entries) + 0.5 for entries in ways.values()) + 0.3)
    heights = [len(entries) + 1.2 for entries in ways.values()]
    panels = figure.subplots(len(ways), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axes, (way, entries) in zip(panels[:, 0], ways.items(), strict=True):
        for place, (row, latency) in enumerate(entries):
            draw_strip(axes, place, latency.samples_ms, colour_of(row, result), marker_of(row))
            median = fixed(latency.p50_ms, ms_digits(result))
            axes.annotate(median, (max(latency.samples_ms), place), (8, 0), textcoords="offset points", va="center")
        name_rows(axes, [row.name for row, _ in entries])
        axes.set_title(way)
    last = panels[-1, 0]
    if spans_decades(medians):
        last.set_xscale("log")
        plain_logarithm(last.xaxis)
    else:
        last.set_xlim(left=0)
    last.set_xlabel("milliseconds per image; the number is the median")
    return figure
