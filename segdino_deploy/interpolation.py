"""Bilinear resizing along one axis as a matrix. No torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def interpolation_matrix(size: int, out_size: int, align_corners: bool) -> NDArray[np.float64]:
    """U `[out_size, size]` with resized = U x; every row sums to one.

    `align_corners`: output i reads position i (size - 1) / (out_size - 1); else (i + .5) size / out_size - .5, clamped
    to the first and the last element (PyTorch's `interpolate`, ONNX's `half_pixel`).
    """
    index = np.arange(out_size, dtype=np.float64)
    if align_corners:
        position = index * ((size - 1) / (out_size - 1) if out_size > 1 else 0.0)
    else:
        position = np.clip((index + 0.5) * size / out_size - 0.5, 0, size - 1)
    lower = np.minimum(np.floor(position).astype(np.int64), size - 1)
    upper = np.minimum(lower + 1, size - 1)
    weight = position - lower
    matrix = np.zeros((out_size, size))
    rows = np.arange(out_size)
    np.add.at(matrix, (rows, lower), 1 - weight)
    np.add.at(matrix, (rows, upper), weight)
    return matrix
