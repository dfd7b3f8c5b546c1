"""What every folded head shares."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segdino_deploy.export.fold.affine import Affine, affine_of, fold_norm, to_conv, to_linear
from segdino_deploy.export.fold.convolution import border_map, compose_with_projection, merges
from segdino_deploy.model.heads.base import tokens_to_map


class FoldedHead(nn.Module):
    """Four taps of a `FoldedBackbone`, `[N, h * w, D]` each, to logits `[N, C, h', w']` at the head's resolution."""

    final_align_corners: bool

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        raise NotImplementedError


def fold_projections(final_norm: nn.LayerNorm, projections: nn.ModuleList) -> list[Affine]:
    """B7: the 1x1 projection of each level with the final norm's affine inside."""
    return [fold_norm(final_norm, affine_of(layer)) for layer in projections if isinstance(layer, nn.Conv2d)]


class BorderedConv(nn.Module):
    """A convolution without bias, then a constant map `[1, out, h', w']` that knows the border."""

    def __init__(self, conv: nn.Conv2d, bias_map: Tensor) -> None:
        super().__init__()
        self.conv = conv
        self.bias_map = nn.Buffer(bias_map.to(conv.weight.dtype))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + self.bias_map  # type: ignore[no-any-return]


class ComposedConv(nn.Module):
    """T3: the projection of the tokens inside the 3x3 convolution after it, where that takes fewer multiply-adds."""

    def __init__(self, projection: Affine, conv: nn.Conv2d, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        dtype, stride = conv.weight.dtype, conv.stride[0]
        self.projection: nn.Linear | None = None
        is_merged = merges(projection, conv)
        self.rewrites = ("T3",) if is_merged else ()
        self.conv: nn.Module
        if is_merged:
            composed = compose_with_projection(conv, projection)
            bias_map = border_map(composed.tap_bias, *grid, stride=stride)
            if conv.bias is not None:
                bias_map = bias_map + conv.bias.double()[None, :, None, None]
            self.conv = BorderedConv(to_conv(composed.kernel, None, dtype, stride=stride, padding=1), bias_map)
        else:
            self.projection, self.conv = to_linear(projection, dtype), conv

    def forward(self, tokens: Tensor) -> Tensor:
        x = tokens if self.projection is None else self.projection(tokens)
        return self.conv(tokens_to_map(x, *self.grid))  # type: ignore[no-any-return]
