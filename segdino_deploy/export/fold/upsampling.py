"""T1: a 3x3 convolution after bilinear upsampling, computed at the low resolution.

Mixing channels commutes with moving pixels: conv3x3(Up(x)) = sum over the nine taps t of Shift_t(Up(W_t x)). Up and
Shift act on rows and columns separately, so with z the nine low-resolution maps laid out as `[K, 3 h, 3 w]` (vertical
tap x row, horizontal tap x column) the result is A z B^T, with two constant matrices. Exact at the borders too: the
rows that Shift fills with zeros are zero rows of A, and a constant added to z stays one under Up.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segdino_deploy.export.fold.affine import Affine, TokensToChannels, after, to_linear
from segdino_deploy.export.fold.convolution import merges
from segdino_deploy.interpolation import interpolation_matrix


def shifted_interpolation(size: int, out_size: int, align_corners: bool) -> Tensor:
    """A = [U down | U | U up], float64 `[out_size, 3 * size]`: what the three taps of a padded convolution read."""
    up = torch.from_numpy(interpolation_matrix(size, out_size, align_corners))
    zeros = up.new_zeros(1, size)
    from_above = torch.cat([zeros, up[:-1]])  # tap 0 reads the row above; above the first there is padding
    from_below = torch.cat([up[1:], zeros])
    return torch.cat([from_above, up, from_below], dim=1)


def stack_taps(conv: nn.Conv2d) -> Affine:
    """The nine 1x1 maps of a 3x3 convolution without bias, stacked: weight `[K * 9, in]`, channel by channel."""
    weight = conv.weight.double()  # [K, in, 3, 3]
    stacked = weight.permute(0, 2, 3, 1).flatten(0, 2)  # [K * 9, in]
    return Affine(stacked, stacked.new_zeros(len(stacked)))


class UpsampledConvFromTokens(nn.Module):
    """Tokens `[N, h * w, D]` to conv3x3(Up(projection(tokens))) `[N, K, s h, s w]`.

    T2: the projection before merges into the nine maps where that takes fewer multiply-adds.
    """

    def __init__(
        self, projection: Affine, conv: nn.Conv2d, grid: tuple[int, int], scale: int, align_corners: bool
    ) -> None:
        super().__init__()
        dtype = conv.weight.dtype
        self.grid = grid
        self.channels = conv.out_channels
        taps = stack_taps(conv)
        self.projection: nn.Linear | None = None
        is_merged = merges(projection, conv)
        self.rewrites = ("T1", "T2") if is_merged else ("T1",)
        if is_merged:
            taps = after(taps, projection)
        else:
            self.projection = to_linear(projection, dtype)
        self.maps = TokensToChannels(taps, dtype)  # [K * 9, in]
        rows, columns = (shifted_interpolation(size, scale * size, align_corners) for size in grid)
        self.rows = nn.Buffer(rows.to(dtype))  # [s h, 3 h]
        self.columns = nn.Buffer(columns.T.contiguous().to(dtype))  # [3 w, s w]

    def forward(self, tokens: Tensor) -> Tensor:
        h, w = self.grid
        x = tokens if self.projection is None else self.projection(tokens)
        z = self.maps(x)  # [N, K * 9, h * w]
        z = z.reshape(-1, 3 * self.channels, 3, h, w).transpose(2, 3)  # [N, K * tap row, h, tap column, w]
        z = z.reshape(-1, self.channels, 3 * h, 3 * w)
        return self.rows @ z @ self.columns  # type: ignore[no-any-return]
