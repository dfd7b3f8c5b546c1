"""The tables of the int8 suite, generated from its stored results; `benchmarks.report` puts them on its page."""

from __future__ import annotations

from pathlib import Path

from segdino_deploy.benchmarks.int8.result import Contestant, Int8Result

COLUMNS = (
    "model",
    "p50 ms",
    "x eager",
    "x best peer",
    "Dice",
    "Dice points lost",
    "agreement",
    "% changed at boundaries",
)


def render_directory(directory: Path) -> str:
    """A Markdown section of all results of a folder, by name; empty where there are none."""
    paths = sorted(directory.glob("*.json"))
    if not paths:
        return ""
    lines = [
        "## Our int8 against the peer's",
        "",
        "Generated from `results/int8/*.json`. The peer (`nncf-int8`) is NNCF's default post-training quantization for "
        "transformers of the plain export, run by OpenVINO in f32 and, where the CPU has it, in bf16. All rows of a "
        "table are one interleaved run with the same threads; both int8 sides are calibrated on the same images. "
        "x eager and x best peer: times faster, median over the rounds; Dice: mean of the classes; agreement and "
        "boundaries: pixels, against the masks of PyTorch eager. The scored images took part in neither calibration "
        "nor search.",
        "",
    ]
    return "\n".join(lines) + "".join("\n" + markdown(Int8Result.model_validate_json(p.read_bytes())) for p in paths)


def markdown(result: Int8Result) -> str:
    """One case."""
    height, width = result.model.input_size
    reference = result.contestant(result.reference)
    lines = [
        f"### {result.name}",
        "",
        f"{result.model.summary}, ViT width {result.model.backbone.embed_dim}, {height}x{width}, batch 1, "
        f"{result.scored_images} images; {result.machine}, {result.threads} threads; {result.rounds} interleaved "
        f"rounds after {result.warmup} to warm up.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
    ]
    lines += ["| " + " | ".join(_cells(row, reference)) + " |" for row in result.contestants]
    versions = ", ".join(f"{name} {number}" for name, number in sorted(result.versions.items()))
    lines += ["", _plan(result), "", f"Versions: {versions}, segdino-deploy {result.tool_version}.", ""]
    return "\n".join(lines)


def _cells(row: Contestant, reference: Contestant) -> list[str]:
    return [
        f"{row.name} (in {row.inference_precision})",
        f"{row.latency.p50_ms:.1f}",
        f"{row.times_faster:.2f}",
        f"{row.times_faster_than_peer:.2f}",
        f"{row.scores.dice:.4f}",
        f"{100 * (reference.scores.dice - row.scores.dice):+.3f}",
        f"{row.agreement:.5f}",
        f"{row.changed_in_band_percent:.3f}",
    ]


def _plan(result: Int8Result) -> str:
    plan = result.plan
    floats = ", ".join(plan.fp32_groups)
    kept = (
        f"{len(plan.fp32_groups)} of {plan.groups} groups stay in fp32 ({floats})" if floats else "all groups in int8"
    )
    return (
        f"Plan of {result.ours}: {kept}; respelled: {', '.join(plan.lowering) or 'nothing'}. It changes "
        f"{plan.changed_percent:.4f}% of the pixels of the search's own {plan.held_out_images} images, "
        f"{plan.max_drop:g}% are allowed. "
        f"Calibrated on {result.calibration_images} images; calibration, search and build took "
        f"{result.build_seconds:.0f} s, the peer's quantization {result.peer_seconds:.0f} s."
    )
