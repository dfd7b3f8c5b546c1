"""Tables from a stored benchmark: for people, generated, never typed.

python -m segdino_deploy.benchmarks.report.tables benchmarks/results > benchmarks/RESULTS.md
"""

from __future__ import annotations

import sys
from pathlib import Path

from segdino_deploy.benchmarks.int8.report import render_directory as render_int8
from segdino_deploy.benchmarks.report.main_table import main_table
from segdino_deploy.benchmarks.report.markdown import digest, page
from segdino_deploy.benchmarks.report.sentences import caption
from segdino_deploy.benchmarks.result import BenchResult, Row

__all__ = ["caption", "cells", "columns", "markdown", "render_directory"]


def columns(result: BenchResult) -> list[str]:
    """Column names of the narrow table: accuracy only where it was measured."""
    return [column.label for column in main_table(result).columns]


def cells(row: Row, result: BenchResult) -> list[str]:
    """One row as text, in the order of `columns`."""
    return [cell.words for cell in main_table(result).rows[result.rows.index(row)]]


def markdown(result: BenchResult, title: str = "Benchmark") -> str:
    """The whole result as a Markdown page without pictures."""
    return page(result, title)


def render_directory(directory: Path) -> str:
    """One Markdown page of all `*.json` results of a folder, by name, and of the int8 suite's in its `int8/`.

    Raises pydantic's ValidationError for a file that is no result of this schema.
    """
    parts = ["# Results", "", "Generated from `results/*.json` by `make results`; every sample is in those files.", ""]
    for path in sorted(directory.glob("*.json")):
        parts.append(digest(BenchResult.model_validate_json(path.read_bytes()), path.stem))
    int8 = render_int8(directory / "int8")
    return "\n".join([*parts, int8] if int8 else parts)


if __name__ == "__main__":
    sys.stdout.write(render_directory(Path(sys.argv[1])))
