"""Rewrites that keep the function and remove operations: from the faithful modules to the exported ones."""

from collections import Counter

from torch import nn

from segdino_deploy.export.fold.backbone import FoldedBackbone
from segdino_deploy.export.fold.model import FoldedSegDINO
from segdino_deploy.export.rewrites import REWRITES


def count_rewrites(folded: nn.Module) -> dict[str, int]:
    """How often each rewrite was applied, in the order of `REWRITES`. Modules list theirs in `rewrites`."""
    counts: Counter[str] = Counter()
    for module in folded.modules():
        counts.update(getattr(module, "rewrites", ()))
    return {name: counts[name] for name in REWRITES if counts[name]}


__all__ = ["FoldedBackbone", "FoldedSegDINO", "count_rewrites"]
