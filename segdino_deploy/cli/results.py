"""A benchmark's result on the terminal: what `bench` and `demo` print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segdino_deploy.cli.console import print_line, print_table

if TYPE_CHECKING:
    from segdino_deploy.benchmarks.result import BenchResult


def print_result(result: BenchResult) -> None:
    """The main table, the verdicts and what was not run."""
    from segdino_deploy.benchmarks.report.tables import caption, cells, columns

    print_line(caption(result))
    print_table(columns(result), [cells(row, result) for row in result.rows])
    for verdict in result.verdicts:
        print_line(f"{'pass' if verdict.passed else 'FAIL'}: {verdict.detail}")
    for name, reason in result.not_run.items():
        print_line(f"not run here: {name} ({reason})")
