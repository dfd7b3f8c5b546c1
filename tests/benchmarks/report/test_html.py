"""The page in a real browser: Chromium without a window, as the system has it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.report.example import CONTESTANTS, HOSTILE, make_example, render_example

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

A4_WIDTH = 703  # of A4 less two margins of 12 mm, in CSS pixels: 186 / 25.4 * 96


@dataclass
class Opened:
    """An opened page, and what it said and asked for."""

    page: Any
    said: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


Open = Callable[..., Opened]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of an ordinary run, and of one whose names attack it."""
    paths = {}
    for name in ("plain", "hostile"):
        paths[name] = tmp_path_factory.mktemp(name) / "index.html"
        paths[name].write_bytes(render_example(is_hostile=name == "hostile")["index.html"])
    return paths


@pytest.fixture
def open_page(browser: Any, files: dict[str, Path]) -> Iterator[Open]:
    contexts = []

    def open_page(name: str = "plain", width: int = 1280, **options: object) -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.on("console", lambda message: opened.said.append(f"{message.type}: {message.text}"))
        opened.page.on("pageerror", lambda error: opened.said.append(f"error: {error}"))
        opened.page.on("dialog", lambda dialog: (opened.said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.goto(files[name].as_uri())
        return opened

    yield open_page
    for context in contexts:
        context.close()


def test_it_opens_silently_and_asks_for_nothing(open_page: Open, files: dict[str, Path]) -> None:
    opened = open_page()

    assert opened.said == []
    assert [url for url in opened.requests if not url.startswith("data:")] == [files["plain"].as_uri()]
    assert opened.page.title() == "Benchmark of tissue.segdino"
    assert opened.page.evaluate("Array.from(document.images).every((image) => image.naturalWidth > 0)")


def test_the_verdict_is_the_first_thing_and_has_words(open_page: Open) -> None:
    page = open_page().page

    assert page.locator("h2").first.inner_text().startswith("Failed: 1 of 5 engines")
    states = page.locator("#summary .state").all_inner_texts()
    assert states == ["Reference", "✓ Pass", "✓ Pass", "✓ Pass", "✓ Pass", "✗ Fail", "○ Not run"]
    top = page.locator("#summary").bounding_box()["y"]
    assert top < page.locator("#main").bounding_box()["y"] < page.locator("#latency").bounding_box()["y"]


def test_a_header_sorts_numbers_as_numbers_both_ways(open_page: Open) -> None:
    page = open_page().page
    header = page.locator("#main thead th", has_text="p50 ms").first
    assert header.get_attribute("aria-sort") == "none"

    header.get_by_role("button").click()
    ascending = [float(text) for text in page.locator("#main tbody tr > td:nth-child(2)").all_inner_texts()]
    assert header.get_attribute("aria-sort") == "ascending"
    header.get_by_role("button").click()
    descending = [float(text) for text in page.locator("#main tbody tr > td:nth-child(2)").all_inner_texts()]

    assert header.get_attribute("aria-sort") == "descending"
    assert len(ascending) == len(CONTESTANTS)
    assert ascending == sorted(ascending)
    assert descending == sorted(descending, reverse=True)
    assert page.locator("#main tbody th").first.inner_text() == "torch-fp32"  # whole rows move: the slowest is first
    others = page.locator("#main thead th[aria-sort=none]").count()
    assert others == page.locator("#main thead th").count() - 1


def test_numbers_of_unequal_length_are_not_sorted_as_text(open_page: Open) -> None:
    page = open_page().page

    page.locator("#throughput thead th", has_text="call p50 ms").get_by_role("button").press("Enter")  # by keyboard

    values = [float(text) for text in page.locator("#throughput tbody tr > td:nth-child(5)").all_inner_texts()]
    assert min(values) < 100 < max(values)
    assert values == sorted(values)


def test_missing_values_come_last_both_ways(open_page: Open) -> None:
    page = open_page().page
    button = page.locator("#cost thead th", has_text="device MiB").get_by_role("button")

    for _ in range(2):
        button.click()
        names = page.locator("#cost tbody th").all_inner_texts()
        assert names[-1] == "torch-fp32"
        assert page.locator("#cost tbody tr").last.locator("td:nth-child(7)").inner_text() == "-"
    assert names[0] == "onnxruntime-fp32"  # 184 MiB, the largest


def _clip(page: Any) -> str:
    return str(page.locator(".stage .engine img").first.evaluate("(image) => getComputedStyle(image).clipPath"))


def test_the_slider_moves_between_reference_and_engine(open_page: Open) -> None:
    page = open_page().page
    slider = page.locator(".compare input[type=range]").first
    assert _clip(page) == "inset(0px 0px 0px 50%)"

    slider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert _clip(page) == "inset(0px 0px 0px 55%)"
    assert slider.get_attribute("aria-valuetext") == "55% torch-fp32"
    page.keyboard.press("Home")
    assert _clip(page) == "inset(0px 0px 0px 0%)"

    slider.scroll_into_view_if_needed()
    box = page.locator(".stage").first.bounding_box()
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 0.5 * box["height"])
    assert _clip(page) == "inset(0px 0px 0px 75%)"
    assert slider.input_value() == "75"


def test_reference_and_engine_lie_on_each_other(open_page: Open) -> None:
    page = open_page().page

    assert page.locator(".stage .reference img").first.bounding_box() == (
        page.locator(".stage .engine img").first.bounding_box()
    )


@pytest.mark.parametrize("name", ["plain", "hostile"])
def test_a_phone_scrolls_tables_but_never_the_page(open_page: Open, name: str) -> None:
    page = open_page(name, width=360).page

    assert page.evaluate("document.documentElement.scrollWidth") == 360
    box = page.locator("#main .scroll")
    assert box.evaluate("(box) => box.scrollWidth > box.clientWidth")
    assert page.evaluate(
        "Array.from(document.querySelectorAll('main *')).every((element) => element.closest('.scroll')"
        " || element.closest('.unseen') || element.getBoundingClientRect().right <= 360.5)"
    )


def test_on_paper_both_pictures_stand_side_by_side_without_controls(open_page: Open) -> None:
    page = open_page(width=A4_WIDTH).page
    page.emulate_media(media="print")

    reference = page.locator(".stage .reference img").first.bounding_box()
    engine = page.locator(".stage .engine img").first.bounding_box()

    assert _clip(page) == "none"
    assert reference["x"] + reference["width"] <= engine["x"]
    assert reference["y"] == engine["y"] and reference["width"] == engine["width"] > 50
    assert not page.locator(".compare input").first.is_visible()
    assert not page.locator("nav").is_visible()


@pytest.mark.parametrize("name", ["plain", "hostile"])
def test_on_paper_no_column_is_cut_off(open_page: Open, name: str) -> None:
    page = open_page(name, width=A4_WIDTH).page
    page.emulate_media(media="print")

    widest = page.evaluate(
        "Math.max(...Array.from(document.querySelectorAll('main table, main svg, main img'),"
        " (element) => element.getBoundingClientRect().right))"
    )
    assert widest <= A4_WIDTH + 0.5


def test_paper_is_white_for_a_dark_screen_too(open_page: Open) -> None:
    page = open_page(color_scheme="dark").page
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")

    page.emulate_media(media="print")

    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)" != dark


def test_without_scripts_everything_is_there(open_page: Open) -> None:
    page = open_page(java_script_enabled=False).page

    reference = page.locator(".stage .reference img").first.bounding_box()
    engine = page.locator(".stage .engine img").first.bounding_box()

    assert reference["x"] + reference["width"] <= engine["x"]
    assert page.locator("#main thead th").first.inner_text() == "engine"


def test_hostile_names_do_nothing(open_page: Open) -> None:
    opened = open_page("hostile")

    opened.page.locator("#classes thead th", has_text="class").first.get_by_role("button").click()

    assert opened.said == []
    assert opened.page.evaluate("document.scripts.length") == 1
    assert opened.page.locator("#classes td", has_text=HOSTILE).count() == len(CONTESTANTS)
    assert opened.page.locator("h1").inner_text().startswith(f"{HOSTILE}.segdino")
    assert opened.page.locator("h4", has_text=HOSTILE).count() == 3  # engines that change something


def test_the_command_is_copied_as_it_is(open_page: Open) -> None:
    page = open_page().page

    page.locator("pre").click()

    assert page.evaluate("getSelection().toString()").strip() == make_example().result.command


# Every element with text of its own: its colour and the colours below it, the nearest first.
COLOURS_OF_TEXT = """
() => Array.from(document.querySelectorAll("body *"), (element) => {
  const own = Array.from(element.childNodes).some((node) => node.nodeType === 3 && node.data.trim());
  if (!own || element.closest("script, .unseen")) return null;
  const style = getComputedStyle(element);
  const below = [];
  for (let at = element; at; at = at.parentElement) below.push(getComputedStyle(at).backgroundColor);
  return { text: element.textContent.slice(0, 40), ink: element.closest("svg") ? style.fill : style.color, below };
}).filter(Boolean)
"""


def _luminance(colour: str) -> float:
    """Relative luminance of `rgb(r, g, b)`: WCAG 2.2, "relative luminance"."""
    channels = [float(value) / 255 for value in re.findall(r"[\d.]+", colour)[:3]]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _is_solid(colour: str) -> bool:
    parts = re.findall(r"[\d.]+", colour)
    return len(parts) == 3 or float(parts[3]) > 0.7


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_contrast(open_page: Open, scheme: str) -> None:
    """At least 4.5 to 1: WCAG 2.2, success criterion 1.4.3."""
    found = open_page(color_scheme=scheme).page.evaluate(COLOURS_OF_TEXT)

    weak = {}
    for entry in found:
        ground = next(colour for colour in entry["below"] if _is_solid(colour))
        brighter, darker = sorted((_luminance(entry["ink"]), _luminance(ground)), reverse=True)
        ratio = (brighter + 0.05) / (darker + 0.05)
        if ratio < 4.5:
            weak[entry["text"]] = (round(ratio, 2), entry["ink"], ground)
    assert len(found) > 300
    assert not weak
