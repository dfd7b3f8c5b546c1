"""The tables of `export --explain`."""

from __future__ import annotations

from segdino_deploy.cli.console import print_line, print_table
from segdino_deploy.manifest import FoldingRecord


def print_folding(folding: FoldingRecord) -> None:
    """What was rewritten, then operations and multiply-adds before and after, by stage."""
    from segdino_deploy.export.rewrites import REWRITES

    print_line()
    rows = [(name, str(count), REWRITES.get(name, "")) for name, count in folding.rewrites.items()]
    print_table(("rewrite", "times", "what"), rows)
    print_line()
    before = folding.before or {}
    stages = [*before, *(stage for stage in folding.after if stage not in before)]
    lines = []
    for stage in [*stages, "all"]:
        counts = [
            (sum(c.operations for c in side.values()), sum(c.multiply_adds for c in side.values()))
            if stage == "all"
            else (side[stage].operations, side[stage].multiply_adds)
            if stage in side
            else (0, 0)
            for side in (before, folding.after)
        ]
        (nodes_before, work_before), (nodes_after, work_after) = counts
        share = f"{100 * work_after / work_before:.1f}%" if work_before else "-"
        lines.append((stage, str(nodes_before), str(nodes_after), _giga(work_before), _giga(work_after), share))
    if "head" not in stages:
        print_line("plain: one model per head, each with a backbone of its own")
    print_table(("stage", "nodes plain", "folded", "G multiply-adds plain", "folded", "left"), lines)
    print_line()


def _giga(count: int) -> str:
    return f"{count / 1e9:.3f}"
