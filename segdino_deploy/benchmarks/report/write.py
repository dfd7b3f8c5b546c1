"""The report as files: data and Markdown with the core packages alone, figures and the HTML page with two more."""

from __future__ import annotations

from segdino_deploy.benchmarks.report.figures import Drawing, draw_figures
from segdino_deploy.benchmarks.report.html import html_page
from segdino_deploy.benchmarks.report.markdown import Picture, page
from segdino_deploy.benchmarks.report.pictures import ReadPicture, read_pictures
from segdino_deploy.benchmarks.result import BenchResult
from segdino_deploy.requirements import has_module, require_module

REPORT_JSON, REPORT_MD, INDEX_HTML = "report.json", "report.md", "index.html"
TOOLS = ("jinja2", "matplotlib")  # of the extra `report`


def require_report_tools() -> None:
    """Raises MissingComponent, with the line that installs them, before anything is measured in vain."""
    for name in TOOLS:
        require_module(name, "the HTML report and its figures", extra="report")


def render_files(result: BenchResult, read_picture: ReadPicture) -> dict[str, bytes]:
    """All files of a report by name, relative to its folder.

    `report.json`, `report.md`, the pictures of worst cases; `index.html` and `figures/*.png` where the tools for them
    are installed: whoever was asked for them calls `require_report_tools` first.
    `read_picture`: from a path in the result to the bytes of that PNG file. Raises InputError for a path that leads
    out of the report's folder.
    """
    pictures = read_pictures(result, read_picture)
    drawings = draw_figures(result) if all(map(has_module, TOOLS)) else []
    figures = [Picture(_file(drawing), drawing.caption, drawing.section) for drawing in drawings]
    files = {
        REPORT_JSON: (result.model_dump_json(indent=1) + "\n").encode(),
        REPORT_MD: page(result, f"Benchmark of {result.bundle}", figures, with_pictures=True).encode(),
    }
    if drawings:
        files[INDEX_HTML] = html_page(result, drawings, pictures).encode()
    return files | {_file(drawing): drawing.png for drawing in drawings} | pictures


def _file(drawing: Drawing) -> str:
    return f"figures/{drawing.name}.png"
