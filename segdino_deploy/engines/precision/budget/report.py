"""The trade between accuracy and latency as a table, a Markdown page and a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence

from segdino_deploy.engines.precision.budget.record import Point, SearchResult

COLUMNS = ("model", "ms", "x fp32", "Dice", "Dice points lost", "% changed", "% changed at boundaries", "budget", "")
MOST_GROUPS = 20  # of the page's table of sensitivities


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """The points that no other one beats in both latency and drop, the fastest first."""
    timed = sorted((p for p in points if p.median_ms is not None), key=lambda p: (p.median_ms, p.loss.drop))
    front: list[Point] = []
    for point in timed:
        if not front or point.loss.drop < front[-1].loss.drop:
            front.append(point)
    return front


def rows(result: SearchResult) -> list[list[str]]:
    """The table, in the order of `COLUMNS`; the fastest first."""
    base = next((p.median_ms for p in result.points if p.name == "fp32"), None)
    front = {point.name for point in pareto_front(result.points)}
    ordered = sorted(result.points, key=lambda p: (p.median_ms is None, p.median_ms or len(p.floats)))
    return [
        [
            point.name,
            "-" if point.median_ms is None else f"{point.median_ms:.1f}",
            "-" if base is None or point.median_ms is None else f"{base / point.median_ms:.2f}",
            "-" if point.loss.dice is None else f"{point.loss.dice:.4f}",
            "-" if point.loss.dice_points is None else f"{point.loss.dice_points:.3f}",
            f"{point.loss.changed_percent:.4f}",
            f"{point.loss.changed_in_band_percent:.3f}",
            "kept" if point.meets_budget else "missed",
            ", ".join(
                word
                for word, holds in (("chosen", point.name == result.chosen), ("Pareto", point.name in front))
                if holds
            ),
        ]
        for point in ordered
    ]


def markdown(result: SearchResult) -> str:
    """The whole search as a page."""
    lines = [
        f"# int8 for {result.backend}: at most {result.max_drop:g} {result.drop_unit}",
        "",
        f"{result.held_out_images} held-out images"
        + (f", {result.also_calibrated_on} of them also calibrated on" if result.also_calibrated_on else "")
        + f". {result.recommendation[:1].upper()}{result.recommendation[1:]}.",
        "",
        *_table(COLUMNS, rows(result)),
        "",
        "## Groups alone in int8",
        "",
        *_table(
            ("group", "% changed", "% changed at boundaries", "saved"),
            [
                [
                    entry.group,
                    f"{entry.loss.changed_percent:.4f}",
                    f"{entry.loss.changed_in_band_percent:.3f}",
                    f"{entry.saved:.3g}",
                ]
                for entry in sorted(result.sensitivities, key=lambda e: -e.loss.changed_percent)[:MOST_GROUPS]
            ],
        ),
        "",
        f"Saved: {'milliseconds' if any(p.samples_ms for p in result.points) else 'multiply-adds'} by int8. "
        f"The {MOST_GROUPS} most sensitive of {len(result.sensitivities)} groups; the JSON file beside this page has "
        "all of them and every sample.",
        "",
    ]
    return "\n".join(lines)


def plot_png(result: SearchResult) -> bytes | None:
    """Accuracy against latency; None where matplotlib is not installed or nothing was timed."""
    try:
        import matplotlib
    except ImportError:
        return None
    timed = [p for p in result.points if p.median_ms is not None]
    if not timed:
        return None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    def spot(points: Sequence[Point]) -> tuple[list[float], list[float]]:
        return [p.median_ms for p in points if p.median_ms is not None], [p.loss.drop for p in points]

    figure, axes = pyplot.subplots(figsize=(8, 5), dpi=120)
    axes.scatter(*spot([p for p in timed if p.is_plan]), color="#1f6feb", label="int8 plans")
    for point in timed:
        if not point.is_plan and point.median_ms is not None:
            axes.scatter(*spot([point]), marker="s", color="#57606a")
            axes.annotate(point.name, (point.median_ms, point.loss.drop), xytext=(6, 4), textcoords="offset points")
    axes.plot(*spot(pareto_front(timed)), color="#1f6feb", alpha=0.4, label="Pareto")
    if result.chosen is not None:
        chosen = spot([result.point(result.chosen)])
        axes.scatter(*chosen, s=140, facecolors="none", edgecolors="#d1242f", label="chosen")
    axes.axhline(result.max_drop, color="#d1242f", linestyle="--", linewidth=1, label="budget")
    axes.set_xlabel("latency on this machine, ms (median)")
    axes.set_ylabel("Dice points lost" if result.drop_unit == "Dice points" else result.drop_unit)
    axes.set_title(f"int8 for {result.backend}: accuracy against latency")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    pyplot.close(figure)
    return buffer.getvalue()


def _table(columns: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return lines + ["| " + " | ".join(row) + " |" for row in body]
