"""The narrow table that everybody reads: one row per contestant."""

from __future__ import annotations

from segdino_deploy.benchmarks.metrics import Key
from segdino_deploy.benchmarks.report.keys import mean_keys
from segdino_deploy.benchmarks.report.table import ABSENT, Cell, Column, Table, text_cell
from segdino_deploy.benchmarks.report.wording import mean_cell, ms_digits, number_cell, ratio_cell
from segdino_deploy.benchmarks.result import BenchResult, Row
from segdino_deploy.benchmarks.statistics import MIN_ROUNDS

METRICS_SHOWN = ("dice", "iou", "hd95", "agreement")


def main_table(result: BenchResult) -> Table:
    keys = [key for key in mean_keys(result) if key.metric in METRICS_SHOWN]
    columns = [Column("engine", is_number=False)]
    columns += [Column(label) for label in ("p50 ms", "p90 ms", "p99 ms", "x reference")]
    columns += [Column("file to mask p50 ms")] if has_files(result) else []
    columns += [Column("peak MiB"), *(Column(_label(key)) for key in keys)]
    interval = ", [its 95% interval]" if result.rounds >= MIN_ROUNDS else "; so few rounds give no interval"
    return Table(
        "main",
        "Overview",
        columns,
        [_cells(row, result, keys) for row in result.rows],
        "Milliseconds per image with copies: from arrays in host memory to masks in host memory."
        f" x reference: times as fast as {result.reference}{interval}."
        + (" Accuracy is the mean over the images." if keys else ""),
    )


def has_files(result: BenchResult) -> bool:
    return any(row.speed.file_to_mask is not None for row in result.rows)


def _label(key: Key) -> str:
    if key.metric == "agreement":  # the only long one
        return f"same pixels, {key.head}" if key.head else "same pixels as reference"
    return key.label_with_unit


def _cells(row: Row, result: BenchResult, keys: list[Key]) -> list[Cell]:
    digits, latency, stages = ms_digits(result), row.speed.with_copies, row.speed.file_to_mask
    cells = [text_cell(row.name)]
    cells += [number_cell(value, digits) for value in (latency.p50_ms, latency.p90_ms, latency.p99_ms)]
    cells += [ratio_cell(row.speed.with_copies_ratio)]
    if has_files(result):
        cells += [Cell(ABSENT) if stages is None else number_cell(stages.total.p50_ms, digits)]
    cells += [number_cell(row.peak_host_mib, 0)]
    summary = {} if row.accuracy is None else row.accuracy.summary
    return [*cells, *(mean_cell(summary.get(key.text), key) for key in keys)]
