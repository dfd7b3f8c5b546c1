"""Resizing matrices against PyTorch's own resizing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segdino_deploy.interpolation import interpolation_matrix


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(("size", "out_size"), [(1, 8), (3, 3), (5, 17), (7, 14), (4, 64), (9, 4), (2, 1)])
def test_matrix_resizes_like_pytorch(size: int, out_size: int, align_corners: bool) -> None:
    x = torch.randn(1, 1, size, 6, dtype=torch.float64)

    expected = F.interpolate(x, size=(out_size, 6), mode="bilinear", align_corners=align_corners)

    np.testing.assert_allclose(interpolation_matrix(size, out_size, align_corners) @ x.numpy(), expected, atol=1e-12)


def test_rows_of_a_half_pixel_matrix() -> None:
    # 2 -> 4: positions -.25 (clamped to 0), .25, .75, 1.25 (clamped to 1)
    assert interpolation_matrix(2, 4, align_corners=False).tolist() == [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]
