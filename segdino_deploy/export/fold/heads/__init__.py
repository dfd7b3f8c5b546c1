"""The head families as they are exported. A new one is a file here and a line in `FOLDED_HEADS`."""

from collections.abc import Callable

from torch import nn

from segdino_deploy.export.fold.heads.base import FoldedHead
from segdino_deploy.export.fold.heads.fine_grained import FoldedFineGrainedHead
from segdino_deploy.export.fold.heads.linear import FoldedLinearHead
from segdino_deploy.export.fold.heads.pyramid import FoldedInitialPyramidHead, FoldedPyramidHead
from segdino_deploy.model.heads.base import Head
from segdino_deploy.model.heads.fine_grained import FineGrainedHead
from segdino_deploy.model.heads.linear import LinearHead
from segdino_deploy.model.heads.pyramid import InitialPyramidHead, PyramidHead

FOLDED_HEADS: dict[type[Head], Callable[..., FoldedHead]] = {
    LinearHead: FoldedLinearHead,
    FineGrainedHead: FoldedFineGrainedHead,
    InitialPyramidHead: FoldedInitialPyramidHead,
    PyramidHead: FoldedPyramidHead,
}


def fold_head(head: Head, final_norm: nn.LayerNorm, grid: tuple[int, int]) -> FoldedHead:
    """The head's folded form for one patch grid (h, w), with the backbone's final norm in its first layers."""
    return FOLDED_HEADS[type(head)](head, final_norm, grid)


__all__ = ["FOLDED_HEADS", "FoldedHead", "fold_head"]
