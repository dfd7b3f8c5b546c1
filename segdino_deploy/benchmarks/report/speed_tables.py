"""Latency in its three ways, by stage, with callers, and what a start costs: as tables."""

from __future__ import annotations

from segdino_deploy.benchmarks.latency.summary import Latency
from segdino_deploy.benchmarks.report.main_table import has_files
from segdino_deploy.benchmarks.report.table import ABSENT, Cell, Column, Table, text_cell
from segdino_deploy.benchmarks.report.wording import ms_digits, number_cell, plural, ratio_cell
from segdino_deploy.benchmarks.result import BenchResult, Row, Throughput

ENGINE = Column("engine", is_number=False)
ENOUGH_FOR_P99 = 100  # samples; with fewer, linear interpolation puts it beside the largest


def speed_tables(result: BenchResult) -> list[Table]:
    tables = [ways_table(result), percentiles_table(result)]
    if has_files(result):
        tables.append(stages_table(result))
    if any(row.throughput for row in result.rows):
        tables.append(throughput_table(result))
    return [*tables, cost_table(result)]


def ways_table(result: BenchResult) -> Table:
    """The three ways side by side."""
    digits = ms_digits(result)
    names = ["engine only", "with copies"] + (["file to mask"] if has_files(result) else [])
    columns = [ENGINE]
    for name in names:
        columns += [Column(f"{name} p50 ms"), Column(f"x reference, {name}")]
    rows = []
    for row in result.rows:
        cells = [text_cell(row.name)]
        ratios = [row.speed.engine_only_ratio, row.speed.with_copies_ratio, row.speed.file_to_mask_ratio]
        for latency, ratio in zip(_ways(row).values(), ratios, strict=True):
            if latency is not None:
                cells += [number_cell(latency.p50_ms, digits), ratio_cell(ratio)]
        rows.append([*cells, *[Cell(ABSENT)] * (len(columns) - len(cells))])
    return Table("ways", "Three ways to measure one image", columns, rows)


def percentiles_table(result: BenchResult) -> Table:
    digits = ms_digits(result)
    labels = ("p50 ms", "p90 ms", "p95 ms", "p99 ms", "samples")
    rows = []
    for row in result.rows:
        for way, latency in _ways(row).items():
            if latency is not None:
                cells = [text_cell(row.name), text_cell(way), *_percentiles(latency, digits)]
                rows.append([*cells, number_cell(len(latency.samples_ms), 0)])
    fewest = min(int(row[-1].value or 0) for row in rows)
    return Table(
        "percentiles",
        "Percentiles",
        [ENGINE, Column("way", is_number=False), *(Column(label) for label in labels)],
        rows,
        f"With {plural(fewest, 'sample')} p99 is little else than the slowest one." if fewest < ENOUGH_FOR_P99 else "",
    )


def stages_table(result: BenchResult) -> Table:
    digits = max(2, ms_digits(result))
    rows = []
    for row in result.rows:
        stages = row.speed.file_to_mask
        if stages is not None:
            parts = (stages.decode, stages.resize, stages.run, stages.resize_back, stages.total)
            rows.append([text_cell(row.name), *(number_cell(part.p50_ms, digits) for part in parts)])
    return Table(
        "stages",
        "From file to mask, by stage",
        [ENGINE, *(Column(f"{name} ms") for name in ("decode", "resize", "run", "resize back", "total"))],
        rows,
        "Medians of each stage: they need not add up to the median of the total.",
    )


def throughput_table(result: BenchResult) -> Table:
    labels = ("batch", "callers", "images/s", "call p50 ms", "call p90 ms", "call p95 ms", "call p99 ms")
    return Table(
        "throughput",
        "Throughput",
        [ENGINE, *(Column(label) for label in labels)],
        [_throughput(row, entry, ms_digits(result)) for row in result.rows for entry in row.throughput],
        "Callers: threads that share the engine, each of which sends its next batch when it has its masks. Call: "
        "milliseconds of one call of one batch, waiting included.",
    )


def cost_table(result: BenchResult) -> Table:
    """Start-up, memory and energy; device memory and energy only where at least one row has them."""
    has_device = any(row.device_mib is not None for row in result.rows)
    has_energy = any(row.energy is not None for row in result.rows)
    labels = ["total s", "imports s", "opening s", "first mask s", "peak host MiB"]
    columns = [ENGINE, *(Column(label) for label in labels)]
    columns += [Column("device MiB")] if has_device else []
    columns += [Column("J per image"), Column("energy of", is_number=False)] if has_energy else []
    was_asked = any(row.throughput for row in result.rows)  # energy is measured together with it
    told = (("device memory", has_device), ("energy", has_energy or not was_asked))
    absent = [name for name, has in told if not has]
    return Table(
        "cost",
        "Start-up, memory and energy" if has_energy else "Start-up and memory",
        columns,
        [_cost(row, has_device, has_energy) for row in result.rows],
        "Total: from the start of a new process to its first mask, median [fastest, slowest] of the repeats."
        + (f" Not told by this platform: {' and '.join(absent)}." if absent else ""),
    )


def _ways(row: Row) -> dict[str, Latency | None]:
    stages = row.speed.file_to_mask
    return {
        "engine only": row.speed.engine_only,
        "with copies": row.speed.with_copies,
        "file to mask": None if stages is None else stages.total,
    }


def _percentiles(latency: Latency, digits: int) -> list[Cell]:
    return [number_cell(v, digits) for v in (latency.p50_ms, latency.p90_ms, latency.p95_ms, latency.p99_ms)]


def _throughput(row: Row, entry: Throughput, digits: int) -> list[Cell]:
    rate = number_cell(entry.images_per_second, 1 if entry.images_per_second < 1000 else 0)
    cells = [text_cell(row.name), number_cell(entry.batch, 0), number_cell(entry.callers, 0), rate]
    return [*cells, *_percentiles(entry.call, digits)]


def _cost(row: Row, has_device: bool, has_energy: bool) -> list[Cell]:
    start = row.start_up
    several = len(start.samples_s) > 1
    span = f"[{min(start.samples_s):.2f}, {max(start.samples_s):.2f}]" if several else ""
    cells = [text_cell(row.name), Cell(f"{start.total_s:.2f}", start.total_s, span)]
    cells += [number_cell(value, 2) for value in (start.imports_s, start.open_s, start.first_mask_s)]
    cells.append(number_cell(row.peak_host_mib, 0))
    if has_device:
        cells.append(number_cell(row.device_mib, 0))
    if has_energy and row.energy is None:
        cells += [Cell(ABSENT), Cell(ABSENT)]
    elif row.energy is not None:
        joules = row.energy.joules_per_image
        cells += [Cell(f"{joules:.3g}", joules), text_cell(row.energy.source)]
    return cells
