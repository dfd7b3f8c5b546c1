"""The table of the graph suite, generated from its stored results.

python -m segdino_deploy.benchmarks.graph.report benchmarks/results/graph > benchmarks/GRAPH.md
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from segdino_deploy.benchmarks.graph.measure import GraphResult, Side
from segdino_deploy.engines.lowering.choose import AS_EXPORTED

GRAPH_COLUMNS = (
    "model",
    "size",
    "nodes",
    "multiply-adds G",
    "of the head G",
    "head left",
    "file MiB",
    "TensorRT-RTX layers",
    "engine MiB",
)
ENGINE_COLUMNS = (
    "model",
    "size",
    "engine",
    "computes in",
    "plain p50 ms",
    "folded p50 ms",
    "x faster",
    "peak MiB",
    "same pixels",
    "respelled",
)


def render_directory(directory: Path) -> str:
    """One Markdown page of all results of a folder."""
    results = [GraphResult.model_validate_json(path.read_bytes()) for path in sorted(directory.glob("*.json"))]
    first = results[0]
    lines = [
        "# Plain export against folded export",
        "",
        "Generated from `results/graph/*.json` by `make results`; every sample is in those files. ViT-S, random "
        f"weights, one class, batch 1; {first.machine}, {first.threads} threads; {first.rounds} interleaved rounds "
        f"after {first.warmup} to warm up. Plain is what the same exporter and simplifier make of the faithful model, "
        "built with the same backends and never respelled; folded is what export and build-engine make, respelled "
        "where that was measured faster (last column).",
        "",
        "## Graphs",
        "",
        *_table(
            GRAPH_COLUMNS,
            [_graph_row(result) for result in results],
        ),
        "",
        "Each pair is plain, then folded. TensorRT-RTX layers are those of the parsed network (fp32).",
        "",
        "## Latency and memory",
        "",
        *_table(
            ENGINE_COLUMNS,
            [row for result in results for row in _engine_rows(result)],
        ),
        "",
    ]
    return "\n".join(lines)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _graph_row(result: GraphResult) -> list[str]:
    sides = (result.plain, result.folded)
    heads = [_multiply_adds(side, "head") for side in sides]
    return [
        result.family,
        str(result.size),
        _pair([str(side.nodes) for side in sides]),
        _pair([f"{_multiply_adds(side) / 1e9:.2f}" for side in sides]),
        _pair([f"{value / 1e9:.3f}" for value in heads]),
        f"{100 * heads[1] / heads[0]:.1f}%",
        _pair([f"{side.file_mib:.1f}" for side in sides]),
        _pair([str(side.tensorrt_layers) for side in sides]),
        _pair([f"{side.tensorrt_mib:.1f}" for side in sides]),
    ]


def _engine_rows(result: GraphResult) -> list[list[str]]:
    return [
        [
            result.family,
            str(result.size),
            engine.name,
            engine.inference_precision or "fp32",
            f"{engine.plain.p50_ms:.1f}",
            f"{engine.folded.p50_ms:.1f}",
            f"{engine.times_faster:.2f}",
            _pair([f"{engine.plain_peak_mib:.0f}", f"{engine.folded_peak_mib:.0f}"]),
            f"{engine.mask_agreement:.5f}",
            ", ".join(r.chosen for r in engine.lowering if r.chosen != AS_EXPORTED) or "-",
        ]
        for engine in result.engines
    ]


def _multiply_adds(side: Side, stage: str | None = None) -> int:
    return sum(count.multiply_adds for name, count in side.stages.items() if stage in (None, name))


def _pair(values: Sequence[str]) -> str:
    return ", ".join(values)


if __name__ == "__main__":
    sys.stdout.write(render_directory(Path(sys.argv[1])))
