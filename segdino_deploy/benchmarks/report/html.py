"""The report as one HTML file that needs nothing else: no network, no second file, and no script to be read."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence

from segdino_deploy.benchmarks.report.accuracy_tables import accuracy_tables, case_table
from segdino_deploy.benchmarks.report.evidence_tables import (
    departure,
    environment_table,
    layers_table,
    not_compared,
    receipt_table,
)
from segdino_deploy.benchmarks.report.figures import Drawing
from segdino_deploy.benchmarks.report.glossary import GLOSSARY
from segdino_deploy.benchmarks.report.legend import legend_of
from segdino_deploy.benchmarks.report.main_table import main_table
from segdino_deploy.benchmarks.report.pictures import embed
from segdino_deploy.benchmarks.report.sentences import caption, model_line, summarise
from segdino_deploy.benchmarks.report.speed_tables import speed_tables
from segdino_deploy.benchmarks.result import BenchResult
from segdino_deploy.requirements import require_module

PACKAGE = "segdino_deploy.benchmarks.report"
PAGE, STYLE, SCRIPT = "report.html.j2", "report.css", "report.js"


def html_page(result: BenchResult, drawings: Sequence[Drawing], pictures: Mapping[str, bytes]) -> str:
    """The page. `pictures`: the PNG files of worst cases by path. MissingComponent where jinja2 is not installed."""
    jinja2 = require_module("jinja2", "the HTML page of a report", extra="report")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(PACKAGE, "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    as_is = environment.filters["safe"]  # of our own files and drawings only; all else is escaped
    style, script = (environment.loader.get_source(environment, name)[0] for name in (STYLE, SCRIPT))
    figures: dict[str, list[dict[str, object]]] = {"speed": [], "accuracy": [], "layers": []}
    for drawing in drawings:
        figures[drawing.section].append({"svg": as_is(drawing.svg), "caption": drawing.caption, "name": drawing.name})
    embedded = embed(result, pictures)
    page: str = environment.get_template(PAGE).render(
        result=result,
        style=as_is(style),
        script=as_is(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        summary=summarise(result),
        caption=caption(result),
        model=model_line(result),
        main=main_table(result),
        speed=speed_tables(result),
        accuracy=accuracy_tables(result),
        figures=figures,
        worst=[
            {"engine": name, "cases": [(case, case_table(case, result.row(name), result)) for case in cases]}
            for name, cases in embedded.cases.items()
            if cases
        ],
        pictures=embedded.uris,
        pictures_note=embedded.note,
        legend=legend_of(result),
        layers=[
            (departure(row.layers), layers_table(row, row.layers)) for row in result.rows if row.layers is not None
        ],
        not_compared=not_compared(result),
        receipts=[receipt_table(row) for row in result.rows if row.name != result.reference],
        environment=environment_table(result),
        glossary=GLOSSARY,
    )
    return page
