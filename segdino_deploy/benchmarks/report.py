"""Tables from a stored benchmark: for people, generated, never typed.

python -m segdino_deploy.benchmarks.report benchmarks/results > benchmarks/RESULTS.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from segdino_deploy.benchmarks.bench import BenchResult, Row
from segdino_deploy.benchmarks.contestants import TORCH
from segdino_deploy.benchmarks.int8.report import render_directory as render_int8

ABSENT = "-"


def columns(result: BenchResult) -> list[str]:
    """Column names: accuracy only where it was measured."""
    names = ["engine", "p50 ms", "p90 ms", "p99 ms", "x reference"]
    if result.images:
        names += ["file to mask p50 ms"]
    names += ["peak MiB"]
    if result.rows[0].scores is not None:
        names += ["Dice", "IoU", "HD95 px"]
    if result.images:
        heads = list(result.rows[0].mask_agreement_by_head)
        names += [f"same pixels as reference, {head}" for head in heads] or ["same pixels as reference"]
    return names


def cells(row: Row, result: BenchResult) -> list[str]:
    """One row as text, in the order of `columns`."""
    latency = row.engine_only
    values = [row.name, f"{latency.p50_ms:.1f}", f"{latency.p90_ms:.1f}", f"{latency.p99_ms:.1f}"]
    values.append(f"{row.times_faster:.2f}")
    if result.images:
        values.append(f"{row.end_to_end.p50_ms:.1f}" if row.end_to_end else ABSENT)
    values.append(f"{row.peak_memory_mib:.0f}")
    if row.scores is not None:
        distance = ABSENT if row.scores.hd95 is None else f"{row.scores.hd95:.2f}"
        dropped = f" ({row.scores.hd95_infinite} inf)" if row.scores.hd95_infinite else ""
        values += [f"{row.scores.dice:.4f}", f"{row.scores.iou:.4f}", distance + dropped]
    if result.images:
        shares: Iterable[float | None] = row.mask_agreement_by_head.values() or [row.mask_agreement]
        values += [ABSENT if share is None else f"{share:.5f}" for share in shares]
    return values


def caption(result: BenchResult) -> str:
    """What was measured, on what, in one paragraph."""
    height, width = result.model.input_size
    data = f"{result.images} images" if result.images else "the canary"
    reference = result.reference
    if reference == TORCH and len(result.model.heads) > 1:
        reference += " (one whole model per head, one after the other)"
    scored = f"; scores of the head {result.scored_head}" if result.scored_head else ""
    return (
        f"{result.model.summary}, ViT width {result.model.backbone.embed_dim}, {height}x{width}, batch {result.batch}, "
        f"{data}; {result.machine}, {result.threads} threads; {result.rounds} interleaved rounds after {result.warmup} "
        f"to warm up; x reference: times faster than {reference}, median over the rounds{scored}."
    )


def markdown(result: BenchResult, title: str = "Benchmark") -> str:
    """The whole result as a Markdown section."""
    names = columns(result)
    lines = [f"## {title}", "", caption(result), ""]
    lines += ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(cells(row, result)) + " |" for row in result.rows]
    if result.skipped:
        lines += ["", "Not run here: " + "; ".join(sorted(result.skipped)) + "."]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(result.versions.items()))
    lines += ["", f"Versions: {versions}, segdino-deploy {result.tool_version}.", ""]
    return "\n".join(lines)


def render_directory(directory: Path) -> str:
    """One Markdown page of all `*.json` results of a folder, by name, and of the int8 suite's in its `int8/`."""
    parts = ["# Results", "", "Generated from `results/*.json` by `make results`; every sample is in those files.", ""]
    for path in sorted(directory.glob("*.json")):
        parts.append(markdown(BenchResult.model_validate_json(path.read_bytes()), path.stem))
    int8 = render_int8(directory / "int8")
    return "\n".join([*parts, int8] if int8 else parts)


if __name__ == "__main__":
    sys.stdout.write(render_directory(Path(sys.argv[1])))
