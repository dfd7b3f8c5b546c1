"""The report as one Markdown page, from the same tables and sentences as the HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from segdino_deploy.benchmarks.report.accuracy_tables import accuracy_tables, case_table
from segdino_deploy.benchmarks.report.evidence_tables import (
    departure,
    environment_table,
    layers_table,
    not_compared,
    receipt_table,
    versions,
)
from segdino_deploy.benchmarks.report.glossary import GLOSSARY
from segdino_deploy.benchmarks.report.legend import legend_of
from segdino_deploy.benchmarks.report.main_table import main_table
from segdino_deploy.benchmarks.report.sentences import caption, summarise
from segdino_deploy.benchmarks.report.speed_tables import cost_table, speed_tables, ways_table
from segdino_deploy.benchmarks.report.table import Table, escape, markdown_table
from segdino_deploy.benchmarks.result import BenchResult, WorstCase


@dataclass(frozen=True)
class Picture:
    """A picture file beside the page."""

    path: str
    text: str
    section: str = ""  # "speed", "accuracy", "layers"

    @property
    def link(self) -> str:
        return f"![{escape(self.text).replace('[', '').replace(']', '')}]({quote(self.path)})"


def page(result: BenchResult, title: str, figures: Sequence[Picture] = (), *, with_pictures: bool = False) -> str:
    """Everything, the verdict first. `figures` and, `with_pictures`, the worst cases are linked from their files."""
    lines = [f"# {escape(title)}", "", *_summary(result), escape(caption(result)), ""]
    lines += markdown_table(main_table(result), "##")
    lines += ["## Latency", "", *_figures(figures, "speed")]
    for table in speed_tables(result):
        lines += markdown_table(table, "###")
    tables = accuracy_tables(result)
    if tables:
        lines += ["## Accuracy", "", *_figures(figures, "accuracy")]
        for table in tables:
            lines += markdown_table(table, "###")
    lines += _worst(result, with_pictures)
    lines += _layers(result, figures)
    engines = [row for row in result.rows if row.name != result.reference]
    lines += ["## Precision receipts", ""] if engines else []
    for row in engines:
        lines += markdown_table(receipt_table(row), "###")
    lines += markdown_table(environment_table(result), "##")
    lines += _not_run(result, "##")
    lines += ["## The command that measures this again", "", *_command(result), "", "## Words", ""]
    lines += [f"- {word}: {meaning}" for word, meaning in GLOSSARY.items()]
    return "\n".join([*lines, ""])


def digest(result: BenchResult, title: str) -> str:
    """A section of a page of many results: verdict, overview, ways, changes, costs and what was not run."""
    lines = [f"## {escape(title)}", "", *_summary(result), escape(caption(result)), ""]
    lines += markdown_table(main_table(result))
    changes: list[Table] = [table for table in accuracy_tables(result) if table.id == "changes"]
    for table in (ways_table(result), *changes, cost_table(result)):
        lines += markdown_table(table, "###")
    lines += _not_run(result, "###")
    lines += [f"Versions: {escape(versions(result))}. Measured with:", ""]
    return "\n".join([*lines, *_command(result), ""])


def _summary(result: BenchResult) -> Iterator[str]:
    summary = summarise(result)
    yield from (f"**{escape(summary.headline)}**", "")
    for line in summary.lines:
        word = {"pass": "passed", "fail": "FAILED"}.get(line.state, line.state)
        label = f"{line.mark} {word}".strip() if line.state != "measured" else ""
        yield f"- {f'{label}: ' if label else ''}{escape(line.name)}: {escape(line.sentence)}"
    yield ""


def _figures(figures: Sequence[Picture], section: str) -> Iterator[str]:
    for figure in figures:
        if figure.section == section:
            yield from (figure.link, "")


def _worst(result: BenchResult, with_pictures: bool) -> Iterator[str]:
    rows = [row for row in result.rows if row.worst]
    if not rows:
        return
    yield from ("## Images that change most", "")
    if with_pictures:
        yield from (f"Pixels that differ: {legend_of(result)}", "")
    for row in rows:
        yield from (f"### {escape(row.name)}", "")
        for case in row.worst:
            table = case_table(case, row, result)
            yield from (f"{escape(case.image)}: {100 * case.agreement:.3f}% same pixels as the reference.", "")
            if with_pictures:
                yield from _pictures(case, row.name, result.reference)
            yield from markdown_table(table)


def _pictures(case: WorstCase, engine: str, reference: str) -> Iterator[str]:
    shown = {reference: case.reference_picture, engine: case.engine_picture}
    shown |= {"pixels that differ": case.disagreement_picture}
    shown |= {"truth": case.truth_picture} if case.truth_picture is not None else {}
    yield "| " + " | ".join(escape(name) for name in shown) + " |"
    yield "|" + "---|" * len(shown)
    yield "| " + " | ".join(Picture(path, name).link for name, path in shown.items()) + " |"
    yield ""


def _layers(result: BenchResult, figures: Sequence[Picture]) -> Iterator[str]:
    rows = [(row, row.layers) for row in result.rows if row.layers is not None]
    absent = not_compared(result)
    if not rows and not absent:
        return
    yield from ("## Layer by layer", "", *_figures(figures, "layers"))
    for row, layers in rows:
        yield from (f"### {escape(row.name)}", "", escape(departure(layers)), "")
        yield from markdown_table(layers_table(row, layers))
    if absent:
        yield from (f"- Not compared: {escape(name)}: {escape(reason)}" for name, reason in absent.items())
        yield ""


def _not_run(result: BenchResult, heading: str) -> Iterator[str]:
    if result.not_run:
        yield from (f"{heading} Not run", "")
        yield from (f"- {escape(name)}: {escape(reason)}" for name, reason in result.not_run.items())
        yield ""


def _command(result: BenchResult) -> list[str]:
    """Indented, so that nothing in it can end the block."""
    return [f"    {line}" for line in result.command.splitlines() or [""]]
