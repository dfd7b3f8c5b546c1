"""The page of the GPU suite, generated from its stored results.

python -m segdino_deploy.benchmarks.gpu.report benchmarks/results/gpu > benchmarks/GPU.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from segdino_deploy.benchmarks.gpu.result import CaseResult, GpuResult, Group, Measured, Refusal
from segdino_deploy.benchmarks.gpu.store import read_result
from segdino_deploy.errors import InputError
from segdino_deploy.timing import median_ratio

ABSENT = "-"
COLUMNS = (
    "contestant",
    "device p50 ms",
    "p90",
    "p95",
    "p99",
    "images/s",
    "x eager",
    "host p50 ms",
    "p99",
    "x eager, host",
    "relative error",
    "same pixels",
    "ready in s",
    "engine MiB",
)
FOLDING_COLUMNS = ("runtime", "plain p50 ms", "folded p50 ms", "x faster")
TITLE = "# On NVIDIA GPUs"
NOTHING = (
    "No GPU run is stored yet: on a machine with an NVIDIA GPU, `python benchmarks/gpu.py && make results` makes one."
)
INTRODUCTION = (
    "Generated from `results/gpu/*.json` by `make results`; every sample and every refusal is in those files. Random "
    "weights, one class; engines are built for one batch size; all contestants give mask and logits and run in "
    "interleaved rounds. Device: milliseconds of one batch by CUDA events on the contestant's own stream, the image on "
    "the GPU already and the stream kept busy before, so that no work of the processor is in it; the model is in no "
    "cache. Host: from arrays in host memory to arrays in host memory. x eager: times faster than PyTorch eager in "
    "fp32 on the faithful model, median over the rounds. Relative error and same pixels: the canary, against PyTorch "
    "eager in fp32 on the processor (int8 is calibrated on other images than the canary's). fp32 is without TF32; "
    "PyTorch's 16 bits are autocast; onnxruntime-graph and torch-compile run as CUDA graphs, as TensorRT does. Ready "
    "in: from the typed model to the first answers."
)


def render_directory(directory: Path) -> str:
    """One Markdown page of all results of a folder. InputError for one that is no result, or not of a GPU."""
    results = {path: read_result(path) for path in sorted(directory.glob("*.json"))}
    for path, result in results.items():
        if result.machine.kind != "cuda":
            raise InputError(f"{path}: is a trial run without a GPU, whose numbers say nothing; remove it")
    if not any(result.cases for result in results.values()):
        return f"{TITLE}\n\n{NOTHING}\n"
    return "\n".join([TITLE, "", INTRODUCTION, "", *(markdown(result) for result in results.values())])


def markdown(result: GpuResult) -> str:
    """The section of one GPU."""
    machine = result.machine
    lines = [
        f"## {machine.name}",
        "",
        f"Compute capability {machine.compute_capability}, {machine.memory_mib} MiB; {machine.processor}.",
        "",
    ]
    for case in result.cases:
        lines += _case(case)
    return "\n".join(lines)


def _case(case: CaseResult) -> Iterator[str]:
    yield from (f"### {case.family}, ViT-{case.vit.upper()}, {case.size}x{case.size}, batch {case.batch}", "")
    for group in case.groups:
        yield from _group(group, case)
    if case.refusals:
        yield from ("Did not run:", "", *_refusals(case.refusals), "")


def _group(group: Group, case: CaseResult) -> Iterator[str]:
    yield f"{group.rounds} rounds after {group.warmup} to warm up."
    yield ""
    yield from _table(COLUMNS, [_cells(entry, case.batch) for entry in group.contestants])
    yield ""
    pairs = list(_pairs(group))
    if pairs:
        yield from ("What folding gains on the device, median over the rounds:", "")
        yield from (*_table(FOLDING_COLUMNS, pairs), "")
    notes = [f"- {entry.name}: {note}" for entry in group.contestants for note in entry.notes]
    if notes:
        yield from (*notes, "")
    versions = ", ".join(f"{name} {number}" for name, number in sorted(group.versions.items()))
    yield from (f"Versions: {versions}, segdino-deploy {group.tool_version}.", "")


def _cells(entry: Measured, batch: int) -> list[str]:
    device, host = entry.device, entry.host
    return [
        entry.name,
        f"{device.p50_ms:.3f}",
        f"{device.p90_ms:.3f}",
        f"{device.p95_ms:.3f}",
        f"{device.p99_ms:.3f}",
        f"{1e3 * batch / device.p50_ms:.0f}",
        ABSENT if entry.times_faster is None else f"{entry.times_faster:.2f}",
        f"{host.p50_ms:.3f}",
        f"{host.p99_ms:.3f}",
        ABSENT if entry.host_times_faster is None else f"{entry.host_times_faster:.2f}",
        f"{entry.relative_error:.1e}",
        f"{entry.mask_agreement:.5f}",
        f"{entry.prepare_seconds:.0f}",
        ABSENT if entry.engine_mib is None else f"{entry.engine_mib:.1f}",
    ]


def _pairs(group: Group) -> Iterator[list[str]]:
    """Runtimes that ran both exports in these rounds."""
    entries = {(entry.runtime, entry.precision, entry.export): entry for entry in group.contestants}
    for (runtime, precision, export), folded in entries.items():
        plain = entries.get((runtime, precision, "plain"))
        if export == "folded" and plain is not None:
            ratio = median_ratio(plain.device.samples_ms, folded.device.samples_ms)
            medians = (f"{plain.device.p50_ms:.3f}", f"{folded.device.p50_ms:.3f}")
            yield [f"{runtime}-{precision}", *medians, f"{ratio:.2f}"]


def _refusals(refusals: Sequence[Refusal]) -> Iterator[str]:
    """One line for each reason."""
    names: dict[str, list[str]] = {}
    for refusal in refusals:
        names.setdefault(refusal.reason, []).append(refusal.name)
    for reason, who in names.items():
        yield f"- {', '.join(who)}: {reason}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


if __name__ == "__main__":
    sys.stdout.write(render_directory(Path(sys.argv[1])))
