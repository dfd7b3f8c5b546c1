"""Interpolation matrices have a band: a product with one, in tiles that leave out most of the zeros.

Rows of A that stand together read columns that stand together. A x is then one batched product of small dense blocks,
`[tiles, rows / tiles, width] @ [tiles, width, ...]`, with the parts of x that each tile reads gathered before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# What gathering costs, in multiply-adds per number: 8 bytes moved at about 30 GB/s take as long as 32 of them at
# 120 G/s, both measured on two cores with AVX-512. Only the ratio counts, and not much: it sets the number of tiles.
MULTIPLY_ADDS_PER_COPY = 32
WORTH = 0.8  # share of the dense product's cost above which it stays dense


@dataclass(frozen=True)
class Tiles:
    """A banded matrix `[rows, columns]` as blocks."""

    blocks: NDArray[np.floating]  # [tiles, rows / tiles, width]
    columns: NDArray[np.int64]  # [tiles, width]: which ones a block reads


def tiles_of(matrix: NDArray[np.floating]) -> Tiles | None:
    """The tiles with the least cost; None where they save too little. Exact: what is left out is zero."""
    rows = len(matrix)
    candidates = [_split(matrix, count) for count in range(2, rows + 1) if rows % count == 0]
    best = min(candidates, key=_cost, default=None)
    return best if best is not None and _cost(best) < WORTH * matrix.size else None


def _split(matrix: NDArray[np.floating], count: int) -> Tiles:
    parts = np.split(matrix, count)
    read = [np.flatnonzero(part.any(axis=0)) for part in parts]
    firsts = [int(columns[0]) if len(columns) else 0 for columns in read]
    width = max(
        int(columns[-1]) + 1 - first if len(columns) else 1 for columns, first in zip(read, firsts, strict=True)
    )
    starts = np.minimum(firsts, matrix.shape[1] - width)  # all blocks are equally wide: the last ones begin earlier
    columns = starts[:, None] + np.arange(width)
    return Tiles(np.stack([part[:, c] for part, c in zip(parts, columns, strict=True)]), columns.astype(np.int64))


def _cost(tiles: Tiles) -> int:
    """In multiply-adds, per column of x."""
    return tiles.blocks.size + MULTIPLY_ADDS_PER_COPY * tiles.columns.size
