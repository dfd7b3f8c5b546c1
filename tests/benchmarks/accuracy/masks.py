"""Pairs of masks to score, random and degenerate."""

from __future__ import annotations

import numpy as np

SHAPE = (24, 40)


def blob(seed: int, shape: tuple[int, int] = (40, 56)) -> np.ndarray:
    """A union of four discs, bool `[H, W]`."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    mask = np.zeros(shape, bool)
    for _ in range(4):
        y, x, radius = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(2, 12)
        mask |= (rows - y) ** 2 + (columns - x) ** 2 < radius**2
    return mask


def noise(seed: int, share: float) -> np.ndarray:
    return np.random.default_rng(seed).random(SHAPE) < share


def pixel(row: int, column: int) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[row, column] = True
    return mask


EMPTY, FULL = np.zeros(SHAPE, bool), np.ones(SHAPE, bool)
PAIRS: dict[str, tuple[np.ndarray, np.ndarray]] = {
    **{f"discs {seed}": (blob(seed), blob(seed + 100)) for seed in range(6)},
    **{f"noise {seed}": (noise(seed, 0.1 + seed / 10), noise(seed + 50, 0.5)) for seed in range(4)},
    "both empty": (EMPTY, EMPTY),
    "nothing found": (EMPTY, noise(1, 0.3)),
    "nothing to find": (noise(1, 0.3), EMPTY),
    "one pixel, the right one": (pixel(3, 5), pixel(3, 5)),
    "one pixel, another one": (pixel(3, 5), pixel(20, 39)),
    "one pixel in the corner": (pixel(0, 0), blob(3, SHAPE)),
    "one pixel found of all": (pixel(3, 5), FULL),
    "one pixel, all found": (FULL, pixel(3, 5)),
    "both full": (FULL, FULL),
    "full against empty": (FULL, EMPTY),
    "one missing in the full": (~pixel(10, 10), FULL),
}
