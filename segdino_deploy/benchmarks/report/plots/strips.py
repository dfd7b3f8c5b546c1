"""Every sample as a dot beside a box of its quartiles: one strip per row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from segdino_deploy.benchmarks.report.plots.style import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BOX_HEIGHT, DOTS_BELOW, DOTS_SPREAD = 0.3, 0.34, 0.13


def draw_strip(axes: Axes, place: int, samples: Sequence[float], colour: str, marker: str) -> None:
    """Box: quartiles and median; whiskers: 5% to 95%. Dots: all samples, pushed apart up and down."""
    axes.boxplot(
        [samples],
        positions=[place - 0.08],
        orientation="horizontal",
        widths=BOX_HEIGHT,
        whis=(5, 95),
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": colour, "edgecolor": INK, "alpha": 0.55, "linewidth": 0.8},
        medianprops={"color": INK, "linewidth": 1.6},
        whiskerprops={"color": INK, "linewidth": 0.8},
        capprops={"color": INK, "linewidth": 0.8},
    )
    spread = np.random.default_rng(0).uniform(-DOTS_SPREAD, DOTS_SPREAD, len(samples))
    # As a raster within the drawing: thousands of dots as shapes would make the page heavy.
    axes.scatter(
        samples,
        place + DOTS_BELOW + spread * 0.6,
        s=7,
        color=colour,
        marker=marker,
        alpha=0.6,
        linewidths=0,
        rasterized=True,
    )
