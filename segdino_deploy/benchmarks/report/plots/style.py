"""How all figures look: colours that colour-blind readers tell apart, shapes that grey print keeps apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from segdino_deploy.benchmarks.result import BenchResult, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design" (2008), without yellow, which is lost on white, and black, the text's.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
REFERENCE_COLOUR = "#808080"
MARKERS = {"fp32": "o", "fp16": "s", "bf16": "D", "int8": "^"}  # by precision
INK = "#1b1f24"  # of all text and lines; the HTML page turns it into its own text colour
WIDTH_INCHES = 7.5
LOGARITHMIC_FROM = 6.0  # largest over smallest value of an axis
SETTINGS: dict[str, Any] = (
    {
        "font.family": "sans-serif",
        "font.size": 9.5,
        "axes.titlesize": 10.5,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.facecolor": "none",
        "grid.alpha": 0.18,
        "grid.color": INK,
        "text.parse_math": False,  # names come from outside: a $ in them is a $
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "segdino-deploy",  # the same result gives the same bytes
    }
    | {f"{part}.color": INK for part in ("text", "xtick", "ytick")}
    | {f"axes.{part}": INK for part in ("edgecolor", "labelcolor")}
)


def new_figure(height_inches: float) -> Figure:
    """An empty figure of the common width that lays itself out."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")


def colour_of(row: Row, result: BenchResult) -> str:
    """By backend."""
    backends = list(dict.fromkeys(other.backend for other in result.rows if other.name != result.reference))
    return REFERENCE_COLOUR if row.name == result.reference else COLOURS[backends.index(row.backend) % len(COLOURS)]


def marker_of(row: Row) -> str:
    return MARKERS[row.precision]


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Names down the left side, the first at the top."""
    axes.set_yticks(range(len(names)), [shorten(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def spans_decades(values: Sequence[float]) -> bool:
    """Whether the small ones would be lost on a linear axis."""
    return max(values) > LOGARITHMIC_FROM * min(values)


def plain_logarithm(axis: Axis, subs: Sequence[int] = (1, 2, 5)) -> None:
    """Ticks as plain numbers: `0.01`, not a power in mathematical type, which is off for the sake of names."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def shorten(name: str, limit: int = 36, *, keep_end: bool = False) -> str:
    """So that a name from outside cannot take the whole figure."""
    name = " ".join(name.split())
    if len(name) <= limit:
        return name
    return "…" + name[1 - limit :] if keep_end else name[: limit - 1] + "…"
