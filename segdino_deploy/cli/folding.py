"""The tables of `export --explain`."""

from __future__ import annotations

from segdino_deploy.cli.console import print_line, print_table
from segdino_deploy.manifest import FoldingRecord, StageCount


def print_folding(folding: FoldingRecord) -> None:
    """What was rewritten, then operations and multiply-adds before and after, by stage."""
    from segdino_deploy.export.rewrites import REWRITES

    print_line()
    rows = [(name, str(count), REWRITES.get(name, "")) for name, count in folding.rewrites.items()]
    print_table(("rewrite", "times", "what"), rows)
    print_line()
    before = folding.before or {}
    stages = list(dict.fromkeys([*before, *folding.after]))
    lines = [_line(stage, before.get(stage, StageCount()), folding.after.get(stage, StageCount())) for stage in stages]
    lines.append(_line("all", sum(before.values(), StageCount()), sum(folding.after.values(), StageCount())))
    if "head" not in stages:
        print_line("plain: one model per head, each with a backbone of its own")
    print_table(("stage", "nodes plain", "folded", "G multiply-adds plain", "folded", "left"), lines)
    print_line()


def _line(stage: str, plain: StageCount, folded: StageCount) -> tuple[str, ...]:
    share = f"{100 * folded.multiply_adds / plain.multiply_adds:.1f}%" if plain.multiply_adds else "-"
    work = (_giga(plain.multiply_adds), _giga(folded.multiply_adds))
    return (stage, str(plain.operations), str(folded.operations), *work, share)


def _giga(count: int) -> str:
    return f"{count / 1e9:.3f}"
