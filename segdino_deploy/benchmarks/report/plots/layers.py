"""How far each layer is from the reference, along the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segdino_deploy.benchmarks.report.plots.style import INK, colour_of, new_figure, plain_logarithm, shorten
from segdino_deploy.benchmarks.result import BenchResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMALLEST = 1e-9  # of a logarithmic axis: what is equal has no logarithm


SHOWN = 1e-3  # of the largest error: exact layers would take the whole axis


def draw_layers(result: BenchResult) -> Figure | None:
    """One panel per engine that was compared layer by layer; the layer that departs most is marked."""
    rows = [(row, row.layers) for row in result.rows if row.layers is not None and row.layers.layers]
    if not rows:
        return None
    figure = new_figure(2.2 * len(rows) + 0.3)
    panels = figure.subplots(len(rows), 1, squeeze=False)
    for axes, (row, layers) in zip(panels[:, 0], rows, strict=True):
        errors = [max(SMALLEST, layer.relative_error) for layer in layers.layers]
        axes.plot(range(1, len(errors) + 1), errors, color=colour_of(row, result), linewidth=1.4)
        for place, (layer, error) in enumerate(zip(layers.layers, errors, strict=True), start=1):
            if layer.name == layers.departs_most:
                axes.plot(place, error, marker="o", markersize=9, markerfacecolor="none", markeredgecolor=INK)
        axes.set_yscale("log")
        axes.set_ylim(bottom=max(min(errors), max(errors) * SHOWN) / 2)
        plain_logarithm(axes.yaxis, (1,))
        axes.margins(x=0.02, y=0.2)
        axes.grid()
        axes.set_title(f"{shorten(row.name)}, circle: {shorten(layers.departs_most, 60, keep_end=True)}")
        axes.set_ylabel("relative error")
    panels[-1, 0].set_xlabel("place in the graph")
    return figure
