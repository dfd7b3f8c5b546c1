"""B2, B3, B6 and B8 in float64."""

from __future__ import annotations

import torch

from segdino_deploy.export.fold.affine import affine_of
from segdino_deploy.export.fold.attention import FoldedAttention, fold_qkv, fold_value_bias, rope_tables
from segdino_deploy.model.dinov3 import Attention, RopeEmbedding, ViTConfig, rotate_half
from tests.export.fold.random_models import TOLERANCE, randomised, relative_error


def test_qkv_has_no_key_bias_and_its_queries_carry_the_scale() -> None:
    attention = randomised(Attention(ViTConfig(24, 1, 2, "mlp", 8)))
    attention.qkv.bias_mask[:] = torch.cat([torch.ones(24), torch.zeros(24), torch.ones(24)])
    x = torch.randn(5, 24, dtype=torch.float64)

    folded = fold_qkv(attention.qkv, head_dim=12)

    expected = attention.qkv(x)
    expected[:, :24] /= 12**0.5
    assert relative_error(x @ folded.weight.T + folded.bias, expected) < TOLERANCE
    assert not folded.bias[24:48].any()


def test_value_bias_moves_behind_the_softmax() -> None:
    attention = randomised(Attention(ViTConfig(8, 1, 1, "mlp", 8)))
    qkv, projection = fold_qkv(attention.qkv, 8), affine_of(attention.proj)
    x = torch.randn(6, 8, dtype=torch.float64)
    probabilities = torch.randn(6, 6, dtype=torch.float64).softmax(dim=1)  # any rows that sum to one

    folded_qkv, folded_projection = fold_value_bias(qkv, projection)

    def result(first: object, second: object) -> torch.Tensor:
        values = x @ first.weight[16:].T + first.bias[16:]  # type: ignore[attr-defined]
        return probabilities @ values @ second.weight.T + second.bias  # type: ignore[attr-defined]

    assert not folded_qkv.bias[16:].any()
    assert relative_error(result(folded_qkv, folded_projection), result(qkv, projection)) < TOLERANCE


def test_rope_tables_rotate_patches_and_leave_the_prefix() -> None:
    rope = RopeEmbedding(12).double()
    sin, cos = rope_tables(rope.periods, 3, 5, num_prefix_tokens=2)
    x = torch.randn(17, 12, dtype=torch.float64)

    swapped = torch.cat([x[:, 6:], x[:, :6]], dim=1)
    found = x * cos + swapped * sin

    expected_sin, expected_cos = rope(3, 5)
    assert torch.equal(found[:2], x[:2])
    assert relative_error(found[2:], x[2:] * expected_cos + rotate_half(x[2:]) * expected_sin) < TOLERANCE


def test_whole_attention_with_its_norm_and_layer_scale() -> None:
    config = ViTConfig(24, 1, 2, "mlp", 8, num_registers=1)
    attention = randomised(Attention(config))
    attention.qkv.bias_mask[:] = torch.cat([torch.ones(24), torch.zeros(24), torch.ones(24)])
    norm, gamma = randomised(torch.nn.LayerNorm(24), seed=2), torch.randn(24, dtype=torch.float64)
    rope = RopeEmbedding(12).double()
    x = torch.randn(2, 2 + 6, 24, dtype=torch.float64)

    folded = FoldedAttention(norm, attention, gamma, *rope_tables(rope.periods, 2, 3, 2))
    plain = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + norm.eps).sqrt()

    assert relative_error(folded(plain), gamma * attention(norm(x), *rope(2, 3))) < TOLERANCE
