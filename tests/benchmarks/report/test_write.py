"""The files of a report: complete, whole, and only from inside its folder."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from segdino_deploy import requirements
from segdino_deploy.benchmarks.report import pictures, write
from segdino_deploy.benchmarks.report.pictures import MOST_CASES, embed
from segdino_deploy.benchmarks.report.write import render_files, require_report_tools
from segdino_deploy.benchmarks.result import BenchResult
from segdino_deploy.errors import InputError, MissingComponent
from tests.benchmarks.report.example import HOSTILE, Example, make_example, make_minimal, render_example

FIGURES = {f"figures/{name}.png" for name in ("latency", "accuracy-latency", "changes", "layers")}


@pytest.fixture(scope="module")
def example() -> Example:
    return make_example()


@pytest.fixture(scope="module")
def page() -> str:
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    return render_example(is_hostile=False)["index.html"].decode()


def _without_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra `report` were not installed."""

    def has_module(name: str) -> bool:
        return name not in ("jinja2", "matplotlib")

    monkeypatch.setattr(requirements, "has_module", has_module)
    monkeypatch.setattr(write, "has_module", has_module)


def test_all_files_are_there_and_hold_the_result(example: Example) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")

    files = render_files(example.result, example.pictures.__getitem__)

    assert set(files) == {"report.json", "report.md", "index.html", *FIGURES, *example.pictures}
    assert BenchResult.model_validate_json(files["report.json"]) == example.result


def test_without_the_extra_data_and_markdown_remain(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    _without_tools(monkeypatch)

    files = render_files(example.result, example.pictures.__getitem__)

    assert set(files) == {"report.json", "report.md", *example.pictures}
    assert "figures/" not in files["report.md"].decode()


def test_a_missing_extra_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    _without_tools(monkeypatch)

    with pytest.raises(MissingComponent, match=r"pip install 'segdino-deploy\[report\]'"):
        require_report_tools()


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "worst/../../secret.png"])
def test_a_picture_outside_the_folder_is_refused(example: Example, path: str) -> None:
    row = example.result.row("openvino-int8")
    worst = [row.worst[0].model_copy(update={"engine_picture": path})]
    rows = [row.model_copy(update={"worst": worst})]
    result = example.result.model_copy(update={"rows": [example.result.rows[0], *rows]})

    with pytest.raises(InputError, match="outside the report's folder"):
        render_files(result, lambda _: b"")


class _Links(HTMLParser):
    """Everything that a browser might fetch, and all ids."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.ids: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
                self.targets.append(value or "")
            if name == "id":
                self.ids.append(value or "")


def test_the_page_points_nowhere_outside_itself(page: str) -> None:
    links = _Links()
    links.feed(page)

    assert links.targets
    assert all(target.startswith(("data:", "#")) for target in links.targets)
    assert not re.search(r"url\((?!#)|@import", page)
    anchors = {target[1:] for target in links.targets if target.startswith("#")}
    assert anchors <= set(links.ids)
    assert len(links.ids) == len(set(links.ids))
    assert links.scripts == 1


def test_names_from_outside_are_escaped_everywhere() -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")

    text = render_example(is_hostile=True)["index.html"].decode()

    links = _Links()
    links.feed(text)
    assert HOSTILE not in text
    assert text.count("&lt;script&gt;") > 50
    assert links.scripts == 1


def test_the_policy_allows_the_pages_own_script_only(page: str) -> None:
    import hashlib

    script = page[page.rindex("<script>") + len("<script>") : page.rindex("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()

    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in page


def test_pictures_that_fit_are_embedded_as_they_are(example: Example, page: str) -> None:
    small = dict.fromkeys(example.pictures, _png(np.zeros((8, 8, 3), np.uint8)))

    embedded = embed(example.result, small)

    assert set(embedded.uris) == set(example.pictures)
    assert {base64.b64decode(uri.partition(",")[2]) for uri in embedded.uris.values()} == set(small.values())
    assert embedded.note == ""
    assert len(page.encode()) < 5_000_000


def test_large_pictures_become_smaller_and_it_is_said(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_BYTES", 400_000)
    noise = np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    row = example.result.row("openvino-int8")
    one = example.result.model_copy(update={"rows": [row.model_copy(update={"worst": row.worst[:1]})]})

    embedded = embed(one, dict.fromkeys(example.pictures, _png(noise)))

    assert len(embedded.uris) == 4
    assert sum(len(uri) for uri in embedded.uris.values()) <= 400_000
    assert "at most 400 pixels wide or high, compressed with losses" in embedded.note
    with Image.open(io.BytesIO(base64.b64decode(next(iter(embedded.uris.values())).partition(",")[2]))) as image:
        assert image.size == (400, 311)  # 700 * 400 / 900 = 311.1


def test_of_too_many_cases_the_worst_of_every_engine_are_shown(example: Example) -> None:
    small = dict.fromkeys(example.pictures, _png(np.zeros((8, 8, 3), np.uint8)))
    rows = [row.model_copy(update={"worst": row.worst * 7}) for row in example.result.rows]  # 21 of three engines

    embedded = embed(example.result.model_copy(update={"rows": rows}), small)

    counts = [len(cases) for cases in embedded.cases.values()]
    assert sum(counts) == MOST_CASES
    assert max(counts) - min(counts) <= 1
    assert embedded.note == f"{MOST_CASES} of 63 cases are shown; all are in report.json."


def test_a_run_without_images_has_a_page_too() -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")

    text = render_files(make_minimal(), {}.__getitem__)["index.html"].decode()

    assert "Only the reference was measured." in text
    assert 'id="accuracy"' not in text


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
