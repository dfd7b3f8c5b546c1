"""The figures of a report as files and for the page: PNG with a white ground, SVG in the page's own colours."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from segdino_deploy.benchmarks.report.plots.accuracy import draw_changes, draw_trade
from segdino_deploy.benchmarks.report.plots.latency import draw_latency
from segdino_deploy.benchmarks.report.plots.layers import draw_layers
from segdino_deploy.benchmarks.report.plots.style import INK, SETTINGS
from segdino_deploy.benchmarks.result import BenchResult
from segdino_deploy.requirements import require_module

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PNG_DPI = 150


@dataclass(frozen=True)
class Drawing:
    """One figure in both forms. The SVG is an element for inside an HTML page, without a prologue."""

    name: str  # of its file, without the suffix
    section: str  # "speed", "accuracy" or "layers"
    caption: str
    png: bytes
    svg: str


@dataclass(frozen=True)
class _Plan:
    name: str
    section: str
    caption: str
    draw: Callable[[BenchResult], Figure | None]


PLANS = (
    _Plan(
        "latency",
        "speed",
        "All samples of every contestant, as dots. Box: the middle half and the median; whiskers: 5% to 95%.",
        draw_latency,
    ),
    _Plan(
        "accuracy-latency",
        "accuracy",
        "Accuracy against latency: faster is farther left, zero is the reference. Bars are 95% intervals. Colour: "
        "backend; shape: precision (circle fp32, square fp16, diamond bf16, triangle int8).",
        draw_trade,
    ),
    _Plan(
        "changes",
        "accuracy",
        "The change of every image, as dots. Box: the middle half and the median; whiskers: 5% to 95%.",
        draw_changes,
    ),
    _Plan(
        "layers",
        "layers",
        "|difference| / |reference| of each layer's output, in the order of the graph, on a logarithmic scale.",
        draw_layers,
    ),
)


def draw_figures(result: BenchResult) -> list[Drawing]:
    """The figures for which something was measured. Raises MissingComponent where matplotlib is not installed."""
    matplotlib = require_module("matplotlib", "the figures of a report", extra="report")
    drawings = []
    with matplotlib.rc_context(SETTINGS):
        for plan in PLANS:
            figure = plan.draw(result)
            if figure is not None:
                drawings.append(Drawing(plan.name, plan.section, plan.caption, _png(figure), _svg(figure, plan)))
    return drawings


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=PNG_DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def _svg(figure: Figure, plan: _Plan) -> str:
    """An `<svg>` that scales, whose text has the page's colour and whose ids no other figure of the page has."""
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", transparent=True, dpi=PNG_DPI, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, count=1, flags=re.DOTALL)  # would hold for the whole page
    text = re.sub(r'((?: id="|url\(#|href="#))', rf"\g<1>{plan.name}-", text)
    return re.sub(r'^<svg([^>]*?) width="[^"]*"', r"<svg\1", re.sub(r'^<svg([^>]*?) height="[^"]*"', r"<svg\1", text))
