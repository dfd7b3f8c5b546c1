"""report.md, read by a Markdown parser that nobody here wrote."""

from __future__ import annotations

import re

from markdown_it import MarkdownIt

from segdino_deploy.benchmarks.report.markdown import Picture, page
from segdino_deploy.benchmarks.report.tables import markdown
from tests.benchmarks.report.example import HOSTILE, make_example, make_minimal

FIGURES = [Picture("figures/latency.png", "All samples", "speed"), Picture("figures/layers.png", "Layers", "layers")]


def _render(text: str) -> str:
    return str(MarkdownIt("commonmark").enable("table").render(text))


def test_the_verdict_comes_first_and_every_part_is_there() -> None:
    text = markdown(make_example().result, "Benchmark")

    html = _render(text)
    titles = re.findall(r"<h2>(.*?)</h2>", html)

    assert html.index("Failed: 1 of 5") < html.index("<h2>")
    assert titles == [
        "Overview",
        "Latency",
        "Accuracy",
        "Images that change most",
        "Layer by layer",
        "Precision receipts",
        "Environment",
        "Not run",
        "The command that measures this again",
        "Words",
    ]
    assert "<pre><code>segdino-deploy bench tissue.segdino" in html
    assert "Not compared: openvino-int8: its model is not of the bundle" in html


def test_every_table_is_read_as_one() -> None:
    text = page(make_example().result, "Benchmark", FIGURES, with_pictures=True)

    html = _render(text)

    assert html.count("<table>") == len(re.findall(r"^\|-", text, re.MULTILINE))
    assert not re.findall(r"<p>\|", html)  # a table that is none stays a paragraph


def test_pictures_and_figures_are_linked_from_their_files() -> None:
    example = make_example()

    html = _render(page(example.result, "Benchmark", FIGURES, with_pictures=True))

    links = set(re.findall(r'<img src="([^"]*)"', html))
    assert links == {*example.pictures, "figures/latency.png", "figures/layers.png"}
    assert "<img" not in _render(markdown(example.result))


def test_names_from_outside_stay_text() -> None:
    hostile = make_example(class_name=HOSTILE).result
    pipes = make_example(class_name="a|b *c* `d`").result

    html = _render(page(hostile, HOSTILE, FIGURES, with_pictures=True))

    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "a|b *c* `d`" in _render(markdown(pipes))


def test_a_run_without_images_has_no_empty_parts() -> None:
    html = _render(markdown(make_minimal()))

    assert re.findall(r"<h2>(.*?)</h2>", html) == [
        "Overview",
        "Latency",
        "Environment",
        "The command that measures this again",
        "Words",
    ]
