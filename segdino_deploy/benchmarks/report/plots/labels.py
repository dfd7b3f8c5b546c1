"""Names beside points so that none covers another name or a point, and lines from names to points cross few names."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from segdino_deploy.benchmarks.report.plots.style import INK, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.path import Path
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

RINGS = 40  # of candidates around a point, each farther out
STEP_POINTS = 7.0
DIRECTIONS = (0, 180, 45, -45, 135, -135, 90, -90, 22, -22, 158, -158, 68, -68, 112, -112)  # degrees, best first
POINT_PIXELS, GAP_PIXELS = 7.0, 5.0  # around a point and around a name, kept free
LEADER_FROM_POINTS = 14.0  # farther out a line says whose name it is
CROSSING_POINTS = 60.0  # so much farther out is as good as one line through a name


def place_labels(
    axes: Axes, points: Sequence[tuple[float, float]], names: Sequence[str], boxes: Sequence[Bbox] = ()
) -> list[Annotation]:
    """Puts each name at the nearest place inside the axes that is free; the figure must be laid out before.

    `points`: x, y in data units. `boxes`: in pixels, kept free as well. Where no place is free the first one is taken.
    """
    from matplotlib.path import Path
    from matplotlib.transforms import Bbox

    pixels = [(float(x), float(y)) for x, y in map(axes.transData.transform, points)]
    kept_free = [Bbox.from_bounds(x, y, 0, 0).padded(POINT_PIXELS) for x, y in pixels]
    kept_free += boxes
    named: list[Bbox] = []
    leaders: list[Path] = []
    labels = []
    for point, pixel, name in zip(points, pixels, names, strict=True):
        label = axes.annotate(
            shorten(name), point, (0, 0), textcoords="offset points", fontsize=9, va="center", annotation_clip=False
        )
        best, offset = math.inf, next(_candidates())
        for candidate in _candidates():
            if math.hypot(*candidate) >= best:
                break
            _move(label, candidate)
            extent = label.get_window_extent()
            if _is_free(extent, axes.bbox, [*kept_free, *named]):
                leader = Path([pixel, _nearest(extent, pixel)])
                cost = math.hypot(*candidate) + CROSSING_POINTS * _crossings(extent, leader, named, leaders)
                best, offset = min((best, offset), (cost, candidate))
        _move(label, offset)
        extent = label.get_window_extent()
        named.append(extent.padded(GAP_PIXELS))
        if math.hypot(*offset) > LEADER_FROM_POINTS:
            leaders.append(Path([pixel, _nearest(extent, pixel)]))
            style = {"arrowstyle": "-", "color": INK, "alpha": 0.45, "linewidth": 0.7, "shrinkB": 4}
            axes.annotate("", point, offset, textcoords="offset points", arrowprops=style, annotation_clip=False)
        labels.append(label)
    return labels


def _candidates() -> Iterator[tuple[float, float]]:
    """Offsets in points."""
    for ring in range(RINGS):
        distance = 9.0 + STEP_POINTS * ring
        for degrees in DIRECTIONS:
            angle = math.radians(degrees)
            yield distance * math.cos(angle), distance * math.sin(angle)


def _move(label: Annotation, offset: tuple[float, float]) -> None:
    label.set_position(offset)
    label.set_horizontalalignment("left" if offset[0] > 1 else "right" if offset[0] < -1 else "center")


def _is_free(extent: Bbox, inside: Bbox, boxes: Sequence[Bbox]) -> bool:
    is_inside = extent.x0 >= inside.x0 and extent.x1 <= inside.x1 and extent.y0 >= inside.y0 and extent.y1 <= inside.y1
    return is_inside and not any(extent.overlaps(box) for box in boxes)


def _crossings(extent: Bbox, leader: Path, named: Sequence[Bbox], leaders: Sequence[Path]) -> int:
    """Lines through names: the new line through the others, and the others' lines through the new name."""
    through_others = sum(leader.intersects_bbox(box, filled=False) for box in named)
    return through_others + sum(other.intersects_bbox(extent, filled=False) for other in leaders)


def _nearest(extent: Bbox, pixel: tuple[float, float]) -> tuple[float, float]:
    """The point of a box that is nearest to a pixel."""
    x, y = pixel
    return min(max(x, extent.x0), extent.x1), min(max(y, extent.y0), extent.y1)
