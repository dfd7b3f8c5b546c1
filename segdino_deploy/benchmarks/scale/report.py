"""The page of the scale suite, generated from its stored results.

python -m segdino_deploy.benchmarks.scale.report benchmarks/results/scale > benchmarks/SCALE.md
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from segdino_deploy.benchmarks.report.wording import ratio_cell
from segdino_deploy.benchmarks.result import BUSY_PROCESSORS
from segdino_deploy.benchmarks.scale.result import Load, ScaleResult

FOLDER_COLUMNS = ("case", "images", "engine images/s", "masks images/s", "share", "with overlays images/s", "share")
LOAD_COLUMNS = (
    "case",
    "clients",
    "server images/s",
    "p50 ms",
    "p99 ms",
    "engine images/s",
    "p50 ms",
    "p99 ms",
    "share",
)
OVERLOAD_COLUMNS = ("case", "minutes", "clients", "queue", "answered", "refused", "p99 ms", "memory MiB", "highest")
LARGE_COLUMNS = ("case", "image", "tiles", "seconds", "peak MiB")


def render_directory(directory: Path) -> str:
    """One Markdown page of all results of a folder."""
    results = [ScaleResult.model_validate_json(path.read_bytes()) for path in sorted(directory.glob("*.json"))]
    first = results[0]
    lines = [
        "# Folders, large images and the HTTP server",
        "",
        "Generated from `results/scale/*.json` by `make results`; every round is in those files. "
        f"{first.machine}, {first.threads} threads. A share is of the engine's own throughput on the same images, "
        "measured in turn with it in one run: median over the rounds, with its 95% interval where there is one.",
        "",
        *[f"- `{result.name}`: {_case(result)}" for result in results],
        "",
        "## Folders: files to files",
        "",
        *_table(FOLDER_COLUMNS, [_folder_row(result) for result in results]),
        "",
        "## `serve` under load from a second process",
        "",
        "Every client asks again as soon as it is answered, over one connection, one image per request, as binary "
        "tensors. The engine's side: as many threads call it in the clients' process.",
        "",
        *_table(LOAD_COLUMNS, [row for result in results for row in _load_rows(result)]),
        "",
        "## `serve` under more load than its queue takes",
        "",
        *_table(OVERLOAD_COLUMNS, [row for result in results for row in _overload_rows(result)]),
        "",
        "Refused is 503 with Retry-After; the clients ask again at once. Memory is the server's, in the first and the "
        "last sample.",
        "",
        "## One large image in tiles",
        "",
        *_table(LARGE_COLUMNS, [row for result in results for row in _large_rows(result)]),
        "",
    ]
    return "\n".join(lines)


def _case(result: ScaleResult) -> str:
    height, width = result.input_hw
    busy = result.others_busy
    warning = f"; others kept {busy:.2f} processors busy meanwhile" if busy and busy > BUSY_PROCESSORS else ""
    return f"{result.engine}, {height}x{width}, {result.created}{warning}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _folder_row(result: ScaleResult) -> list[str]:
    run = result.folder
    engine, masks, overlays = (
        f"{run.images * len(times_s) / sum(times_s):.1f}" for times_s in (run.engine_s, run.masks_s, run.overlays_s)
    )
    shares = [ratio_cell(share).words for share in (run.masks_share, run.overlays_share)]
    return [result.name, str(run.images), engine, masks, shares[0], overlays, shares[1]]


def _load_rows(result: ScaleResult) -> list[list[str]]:
    return [
        [
            result.name,
            str(of_clients.server.clients),
            *_load_cells(of_clients.server),
            *_load_cells(of_clients.engine),
            f"{of_clients.server.images_per_s / of_clients.engine.images_per_s:.2f}",
        ]
        for of_clients in result.served
    ]


def _load_cells(load: Load) -> list[str]:
    return [f"{load.images_per_s:.1f}", f"{load.p50_ms:.1f}", f"{load.p99_ms:.1f}"]


def _overload_rows(result: ScaleResult) -> list[list[str]]:
    overload = result.overload
    if overload is None:
        return []
    statuses, memory = overload.load.statuses, overload.resident_mib
    return [
        [
            result.name,
            f"{overload.seconds / 60:.1f}",
            str(overload.load.clients),
            str(overload.max_queue),
            str(statuses.get(200, 0)),
            str(statuses.get(503, 0)),
            f"{overload.load.p99_ms:.0f}",
            f"{memory[0]:.0f}, {memory[-1]:.0f}",
            f"{max(memory):.0f}",
        ]
    ]


def _large_rows(result: ScaleResult) -> list[list[str]]:
    large = result.large_image
    if large is None:
        return []
    size = f"{large.side}x{large.side}"
    return [[result.name, size, str(large.tiles), f"{large.seconds:.0f}", f"{large.peak_mib:.0f}"]]


if __name__ == "__main__":
    sys.stdout.write(render_directory(Path(sys.argv[1])))
