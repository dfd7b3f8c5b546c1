"""Verdicts, worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segdino_deploy.canary import Canary, make_canary, synthetic_image
from segdino_deploy.errors import CheckFailed, InputError
from segdino_deploy.evidence import (
    check_canary,
    check_heads,
    margins,
    mask_from_logits,
    parity,
    relative_error,
    require,
)


def logits_of(values: list[float]) -> np.ndarray:
    """One class, one image, one row of pixels: `[1, 1, 1, n]`."""
    return np.array(values, np.float32).reshape(1, 1, 1, -1)


def test_one_class_is_foreground_above_the_logit_of_the_threshold() -> None:
    # sigmoid(1.0986) = 0.75
    assert mask_from_logits(logits_of([1.0, 1.2]), 0.75).ravel().tolist() == [0, 1]


def test_several_classes_take_the_largest_logit() -> None:
    logits = np.array([[1.0, 0.0], [0.5, 3.0], [0.0, 3.5]], np.float32).reshape(1, 3, 1, 2)
    assert mask_from_logits(logits, 0.5).ravel().tolist() == [0, 2]
    np.testing.assert_allclose(margins(logits, 0.5).ravel(), [0.5, 0.5])


def test_relative_error_is_relative_to_at_least_one() -> None:
    assert relative_error(logits_of([0.1, 0.2]), logits_of([0.1, 0.3])) == pytest.approx(0.1, rel=1e-5)
    assert relative_error(logits_of([-4.0, 0.2]), logits_of([-4.0, 0.6])) == pytest.approx(0.1, rel=1e-5)


def test_nan_never_passes() -> None:
    reference = logits_of([1.0, -1.0])
    broken = logits_of([float("nan"), -1.0])

    assert relative_error(reference, broken) == float("inf")
    assert not check_canary(reference, {"logits": broken}, 0.5, "int8").passed
    with pytest.raises(CheckFailed):
        require(parity("canary", "x", reference, broken, 0.5, 1e-4))


def test_nan_is_no_probability_even_of_the_background() -> None:
    reference = logits_of([-4.0, -4.0])
    assert not check_canary(reference, {"probability": logits_of([float("nan"), 0.02])}, 0.5, "int8").passed


def test_a_pixel_on_the_edge_may_change_and_a_sure_one_may_not() -> None:
    reference = logits_of([2.0, 0.01] + [-2.0] * 998)
    mask = mask_from_logits(reference, 0.5)
    edge_changed, sure_changed = mask.copy(), mask.copy()
    edge_changed[..., 1], sure_changed[..., 0] = 0, 0

    edge = check_canary(reference, {"mask": edge_changed}, 0.5, "fp16")
    sure = check_canary(reference, {"mask": sure_changed}, 0.5, "fp16")

    assert edge.passed
    assert edge.worst_margin == pytest.approx(0.005)  # 0.01 of a largest logit of 2
    assert not sure.passed
    assert "margin 1.00e+00" in sure.detail


def test_many_pixels_on_the_edge_may_not_change_together() -> None:
    reference = logits_of([2.0] + [0.001] * 99)

    record = check_canary(reference, {"mask": np.zeros((1, 1, 100), np.uint8)}, 0.5, "fp32")
    flipped = check_canary(reference, {"mask": np.eye(1, 100, dtype=np.uint8)[None]}, 0.5, "int8")

    assert not record.passed
    assert not flipped.passed
    assert flipped.detail == "only 1.00% of the pixels keep their class"


def test_an_engine_that_gives_one_class_everywhere_fails() -> None:
    reference = np.random.default_rng(0).normal(size=(1, 1, 8, 8)).astype(np.float32) * 3

    assert not check_canary(reference, {"mask": np.zeros((1, 8, 8), np.uint8)}, 0.5, "int8").passed


def test_probabilities_alone_can_be_checked() -> None:
    reference = logits_of([2.0, -2.0])
    good = 1 / (1 + np.exp(-reference))

    assert check_canary(reference, {"probability": good}, 0.5, "fp32").passed
    assert not check_canary(reference, {"probability": 1 - good}, 0.5, "fp32").passed


def test_the_worst_head_decides_and_every_head_is_kept() -> None:
    references = {"a": logits_of([2.0, -2.0]), "b": logits_of([4.0, -4.0, 4.0, -4.0])}
    outputs = {"a.mask": np.array([[[1, 0]]], np.uint8), "b.mask": np.array([[[1, 0, 1, 1]]], np.uint8)}

    record = check_heads(references, outputs, {"a": 0.5, "b": 0.5}, "fp32")

    assert not record.passed
    assert (record.mask_agreement, record.worst_margin) == (0.75, 1.0)  # one of b's four pixels, at its largest logit
    assert [(head.head, head.passed, head.mask_agreement) for head in record.heads] == [
        ("a", True, 1.0),
        ("b", False, 0.75),
    ]
    assert record.detail.startswith("b: a pixel with margin 1.00e+00")


def test_an_infinite_error_of_one_head_is_not_hidden_by_the_others() -> None:
    references = {"a": logits_of([2.0, -2.0]), "b": logits_of([2.0, -2.0])}
    outputs = {"a.logits": references["a"], "b.logits": logits_of([float("nan"), -2.0])}

    record = check_heads(references, outputs, {"a": 0.5, "b": 0.5}, "fp32")

    assert (record.passed, record.relative_error) == (False, None)


def test_canary_is_the_most_balanced_candidate() -> None:
    def brightness(images: np.ndarray) -> dict[str, np.ndarray]:
        return {"": (images.mean(axis=-1)[:, None] - 128).astype(np.float32)}  # [N, 1, H, W]

    canary = make_canary(brightness, (32, 48), 2, {"": 0.5})

    assert canary.image.shape == (2, 32, 48, 3)
    shares = [mask_from_logits(brightness(synthetic_image((32, 48), s)[None])[""], 0.5).mean() for s in range(4)]
    assert abs(canary.mask[""][0].mean() - 0.5) == pytest.approx(min(abs(share - 0.5) for share in shares))


def test_a_file_that_is_no_canary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "canary.npz").write_bytes(b"something else")
    with pytest.raises(InputError, match="not a canary"):
        Canary.read(tmp_path / "canary.npz")


def test_canary_candidates_are_judged_small_and_only_the_chosen_one_at_full_size() -> None:
    seen: list[tuple[int, ...]] = []

    def brightness(images: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(images.shape)
        return {"": images[:, None, :, :, 0].astype(np.float32) - 128}

    canary = make_canary(brightness, (512, 256), 1, {"": 0.5})

    assert seen == [(1, 128, 64, 3)] * 4 + [(1, 512, 256, 3)]
    assert canary.image.shape == (1, 512, 256, 3)
    assert canary.logits[""].shape == (1, 1, 512, 256)
