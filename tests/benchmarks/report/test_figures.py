"""Figures: files that open, names that stay apart and stay text."""

from __future__ import annotations

import io
import re
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("matplotlib")

from segdino_deploy.benchmarks.report.figures import Drawing, draw_figures
from segdino_deploy.benchmarks.report.plots.labels import place_labels
from segdino_deploy.benchmarks.report.plots.style import SETTINGS, new_figure, shorten
from tests.benchmarks.report.example import HOSTILE, make_example, make_minimal


@pytest.fixture(scope="module")
def drawings() -> list[Drawing]:
    return draw_figures(make_example().result)


def test_every_figure_opens_in_both_forms(drawings: list[Drawing]) -> None:
    assert [drawing.name for drawing in drawings] == ["latency", "accuracy-latency", "changes", "layers"]
    for drawing in drawings:
        with Image.open(io.BytesIO(drawing.png)) as image:
            assert image.width == 1125  # 7.5 inches at 150 dots
            grey = np.asarray(image.convert("L"))
        assert grey[0, 0] == 255 and grey.min() < 64  # dark ink on white paper
        assert ElementTree.fromstring(drawing.svg).tag.endswith("svg")
        assert "currentColor" in drawing.svg and "<style" not in drawing.svg


def test_the_same_result_gives_the_same_bytes(drawings: list[Drawing]) -> None:
    assert draw_figures(make_example().result) == drawings


def test_ids_of_one_figure_are_in_no_other(drawings: list[Drawing]) -> None:
    ids = [set(re.findall(r' id="([^"]*)"', drawing.svg)) for drawing in drawings]

    assert all(ids)
    assert not any(one & other for one, other in combinations(ids, 2))


def test_a_run_without_accuracy_has_latency_only() -> None:
    assert [drawing.name for drawing in draw_figures(make_minimal())] == ["latency"]


def test_names_with_mathematics_or_markup_are_drawn_as_they_are() -> None:
    result = make_example().result
    rows = [row.model_copy(update={"name": f"{HOSTILE}$\\frac{{{row.name}$"}) for row in result.rows]
    renamed = result.model_copy(update={"rows": rows, "reference": rows[0].name, "verdicts": []})

    for drawing in draw_figures(renamed):
        text = "".join(ElementTree.fromstring(drawing.svg).itertext())
        assert "<script" not in drawing.svg
        assert HOSTILE in text


def test_labels_of_points_at_one_place_do_not_overprint() -> None:
    import matplotlib

    names = [f"engine-of-some-length-{index}" for index in range(12)]
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(4.6)
        axes = figure.subplots()
        points = [(50 + 0.01 * index, 0.0) for index in range(12)]
        axes.plot(*zip(*points, strict=True), "o")
        axes.set_xlim(0, 100)
        figure.draw_without_rendering()

        labels = place_labels(axes, points, names)

        boxes = [label.get_window_extent() for label in labels]
        places = [axes.transData.transform(point) for point in points]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert not any(box.contains(x, y) for box in boxes for x, y in places)
    assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)


def test_long_names_are_shortened_at_the_end_that_says_less() -> None:
    assert shorten("openvino-int8") == "openvino-int8"
    assert shorten("abcdefgh", 5) == "abcd…"
    assert shorten("abcdefgh", 5, keep_end=True) == "…efgh"
