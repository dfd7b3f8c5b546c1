"""Accuracy against latency, and the change from image to image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from segdino_deploy.benchmarks.metrics import AGREEMENTS, Key
from segdino_deploy.benchmarks.report.keys import deciding_key
from segdino_deploy.benchmarks.report.plots.labels import place_labels
from segdino_deploy.benchmarks.report.plots.strips import draw_strip
from segdino_deploy.benchmarks.report.plots.style import (
    INK,
    colour_of,
    marker_of,
    name_rows,
    new_figure,
    plain_logarithm,
    spans_decades,
)
from segdino_deploy.benchmarks.report.wording import fixed
from segdino_deploy.benchmarks.result import BenchResult, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

BUDGET_COLOUR = "#d55e00"


@dataclass(frozen=True)
class Spot:
    """One contestant: median and change, each with how far its interval reaches down and up."""

    row: Row
    ms: float
    ms_reach: tuple[float, float]
    change: float
    change_reach: tuple[float, float]


def draw_trade(result: BenchResult) -> Figure | None:
    """Change of the deciding metric against milliseconds; the best place is the upper left."""
    key = deciding_key(result)
    spots = [spot for row in result.rows if key is not None and (spot := _spot(row, key)) is not None]
    if key is None or len(spots) < 2:
        return None
    figure = new_figure(4.6)
    axes = figure.subplots()
    for spot in spots:
        colour = colour_of(spot.row, result)
        axes.errorbar(
            spot.ms,
            spot.change,
            xerr=[[value] for value in spot.ms_reach],
            yerr=[[value] for value in spot.change_reach],
            marker=marker_of(spot.row),
            color=colour,
            markeredgecolor=INK,
            markeredgewidth=0.7,
            markersize=7,
            elinewidth=1.2,
            capsize=3,
            linestyle="none",
        )
    axes.axhline(0, color=INK, linewidth=0.8, alpha=0.6)
    budget = result.budget  # in the unit of the axis: points and percent are both hundredths
    if budget is not None:
        axes.axhline(-budget, color=BUDGET_COLOUR, linewidth=1.2, linestyle="--")
        words = axes.annotate(
            f"budget: {budget:g} {_unit(key)}", (1, -budget), (-2, 3), ("axes fraction", "data"), "offset points"
        )
        words.set(ha="right", va="bottom", fontsize=9)
    axes.grid()
    axes.margins(x=0.2, y=0.16)
    if spans_decades([spot.ms for spot in spots]):
        axes.set_xscale("log")
        plain_logarithm(axes.xaxis)
    axes.set_xlabel("milliseconds per image with copies: median, and the 95% interval of its ratio to the reference")
    axes.set_ylabel(_title(key))
    axes.set_title("Accuracy against latency")
    figure.draw_without_rendering()  # now every place in pixels is known
    kept_free = [_across(axes, 0), *(_bar(axes, spot) for spot in spots)]
    kept_free += [] if budget is None else [_across(axes, -budget), words.get_window_extent()]
    place_labels(axes, [(spot.ms, spot.change) for spot in spots], [spot.row.name for spot in spots], kept_free)
    return figure


def draw_changes(result: BenchResult) -> Figure | None:
    """The change of the deciding metric of every single image, engine minus reference."""
    key = deciding_key(result)
    rows = [row for row in result.rows if row.name != result.reference and row.accuracy is not None]
    if key is None or not rows:
        return None
    figure = new_figure(0.42 * len(rows) + 1.0)
    axes = figure.subplots()
    for place, row in enumerate(rows):
        changes = per_image_changes(result, row, key)
        if changes:
            draw_strip(axes, place, changes, colour_of(row, result), marker_of(row))
            worst = fixed(min(changes), 3, signed=True)
            axes.annotate(worst, (1, place), (6, 0), ("axes fraction", "data"), "offset points", va="center")
    axes.axvline(0, color=INK, linewidth=0.8, alpha=0.6)
    name_rows(axes, [row.name for row in rows])
    axes.annotate("worst", (1, 1), (6, 4), "axes fraction", "offset points", va="bottom")
    axes.set_xlabel(f"{_title(key)}; to the left of zero: worse")
    axes.set_title("Change of every image")
    return figure


def per_image_changes(result: BenchResult, row: Row, key: Key) -> list[float]:
    """Engine minus reference in hundredths, for the images where both have the metric."""
    reference = result.row(result.reference).accuracy
    if row.accuracy is None or reference is None:
        return []
    pairs = zip(row.accuracy.per_image[key.text], reference.per_image[key.text], strict=True)
    return [100 * (a - b) for a, b in pairs if a is not None and b is not None]


def _spot(row: Row, key: Key) -> Spot | None:
    summary = None if row.accuracy is None else row.accuracy.summary.get(key.text)
    if summary is None or summary.difference is None:
        return None
    latency, ratio, change = row.speed.with_copies.p50_ms, row.speed.with_copies_ratio, 100 * summary.difference
    interval, speed = summary.difference_interval, ratio.interval
    reach = (change, change) if interval is None else (100 * interval.low, 100 * interval.high)
    # A median outside its own interval would be the bootstrap's rounding: never a bar of negative length.
    return Spot(
        row,
        latency,
        (
            0.0 if speed is None else max(0.0, latency - latency * ratio.value / speed.high),
            0.0 if speed is None else max(0.0, latency * ratio.value / speed.low - latency),
        ),
        change,
        (max(0.0, change - reach[0]), max(0.0, reach[1] - change)),
    )


def _across(axes: Axes, y: float) -> Bbox:
    """The line at `y`, in pixels."""
    from matplotlib.transforms import Bbox

    place = axes.transData.transform((axes.get_xlim()[0], y))[1]
    return Bbox.from_extents(axes.bbox.x0, place - 1, axes.bbox.x1, place + 1)


def _bar(axes: Axes, spot: Spot) -> Bbox:
    """The upright bar of a spot's interval, in pixels."""
    from matplotlib.transforms import Bbox

    x, low = axes.transData.transform((spot.ms, spot.change - spot.change_reach[0]))
    high = axes.transData.transform((spot.ms, spot.change + spot.change_reach[1]))[1]
    return Bbox.from_extents(x - 5, low, x + 5, high)


def _title(key: Key) -> str:
    """Of an axis whose zero is the reference."""
    if key.metric in AGREEMENTS:
        return "pixels of the reference's class, change in %"
    return f"change of {key.label}, in points (0.01)"


def _unit(key: Key) -> str:
    return "% of pixels" if key.metric in AGREEMENTS else f"{key.label} points"
