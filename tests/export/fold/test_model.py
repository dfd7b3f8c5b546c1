"""The whole folded module against the faithful one: every family in float64, upstream's golden files in float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segdino_deploy import load_segdino
from segdino_deploy.export.fold import FoldedSegDINO, count_rewrites
from tests.conftest import IMAGENET_MEAN, IMAGENET_STD, Golden
from tests.export.fold.random_models import (
    MEAN,
    STD,
    TOLERANCE,
    normalised,
    random_model,
    random_pixels,
    relative_error,
)

HEADS = [
    ("v1_paper", 1, "none", 8),
    ("v1_paper", 3, "none", 8),
    ("v1_convt", 1, "none", 8),
    ("v1_convt", 4, "none", 8),
    ("fine_grained", 1, "none", 8),
    ("fine_grained", 2, "none", 8),
    ("v2_initial", 1, "batch", 24),
    ("v2_initial", 3, "group", 24),
    ("v2", 1, "group", 8),  # narrower than the backbone: projections stay
    ("v2", 2, "group", 32),  # wider: they merge
    ("v2", 2, "batch", 8),
]


@pytest.mark.parametrize(("family", "num_classes", "norm", "features"), HEADS)
@pytest.mark.parametrize(("height", "width"), [(48, 80), (32, 16), (16, 16)])
def test_every_family_keeps_its_function(
    family: str, num_classes: int, norm: str, features: int, height: int, width: int
) -> None:
    model = random_model(family, num_classes, norm, features)
    pixels = random_pixels(2, height, width)

    folded = FoldedSegDINO({"": model}, (height, width), MEAN, STD, {"": 0.5})

    expected = model(normalised(pixels))
    assert expected.shape == (2, num_classes, height, width)
    assert relative_error(folded(pixels)[2], expected) < TOLERANCE


def test_golden_logits_in_float32(golden: Golden) -> None:
    model = load_segdino(golden.checkpoint)
    folded = FoldedSegDINO({"": model}, golden.input_hw, IMAGENET_MEAN, IMAGENET_STD, {"": 0.5}).eval()

    with torch.inference_mode():
        logits = folded(torch.tensor(golden.image))[2].numpy()

    assert np.abs(logits - golden.logits).max() < 1e-5 * np.abs(golden.logits).max()


def test_folding_leaves_the_faithful_model_untouched() -> None:
    model = random_model("v2_initial", 2, "batch", 24)
    before = {key: value.clone() for key, value in model.state_dict().items()}

    FoldedSegDINO({"": model}, (32, 48), MEAN, STD, {"": 0.5})

    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_outputs_agree_with_the_logits() -> None:
    model = random_model("v1_paper", 1)
    mask, probability, logits = FoldedSegDINO({"": model}, (32, 48), MEAN, STD, {"": 0.3})(random_pixels(1, 32, 48))

    np.testing.assert_allclose(probability, 1 / (1 + np.exp(-logits.numpy())), rtol=1e-12)
    assert torch.equal(mask.bool(), probability[:, 0] > 0.3)
    assert 0 < mask.float().mean() < 1


def test_mask_of_several_classes_is_the_largest_logit() -> None:
    model = random_model("v1_paper", 5)
    mask, probability, logits = FoldedSegDINO({"": model}, (32, 48), MEAN, STD, {"": 0.5})(random_pixels(1, 32, 48))

    assert mask.dtype == torch.uint8
    np.testing.assert_array_equal(mask, logits.numpy().argmax(axis=1))
    np.testing.assert_allclose(probability.sum(dim=1), 1, rtol=1e-12)


@pytest.mark.parametrize(
    ("family", "norm", "features", "expected"),
    [
        ("v1_paper", "none", 8, {"H1": 4, "H2": 1, "H4": 1}),
        ("v1_convt", "none", 8, {"H1": 4, "H2": 1, "H3": 1, "H4": 1}),
        ("fine_grained", "none", 8, {"H2": 4, "T5b": 2}),
        ("v2_initial", "batch", 24, {"T3": 1, "T5a": 2, "T5c": 1, "BN": 8}),
        ("v2", "group", 8, {"T1": 3, "T5c": 1, "T5d": 1}),
        ("v2", "group", 32, {"T1": 3, "T2": 3, "T3": 1, "T5c": 1, "T5d": 1}),
    ],
)
def test_applied_rewrites_are_counted(family: str, norm: str, features: int, expected: dict[str, int]) -> None:
    model = random_model(family, 2, norm, features)

    counts = count_rewrites(FoldedSegDINO({"": model}, (32, 48), MEAN, STD, {"": 0.5}))

    backbone = {"B1": 1, "B2": 4, "B3": 4, "B4": 8, "B5": 8, "B6": 4, "B7": 1, "B8": 4}
    assert {name: n for name, n in counts.items() if name in backbone} == backbone
    assert {name: n for name, n in counts.items() if name not in backbone} == expected


@pytest.mark.parametrize("gamma", [-2.5, 0.0, 1e-3, 1e3])
def test_any_residual_scale_of_the_finest_level_keeps_the_function(gamma: float) -> None:
    model = random_model("v2", 2, "group", 32)
    model.head.get_parameter("sad_intra_1.gamma").data.fill_(gamma)
    pixels = random_pixels(1, 32, 48)

    folded = FoldedSegDINO({"": model}, (32, 48), MEAN, STD, {"": 0.5})

    assert relative_error(folded(pixels)[2], model(normalised(pixels))) < TOLERANCE
    assert ("T5d" in count_rewrites(folded)) == (gamma == -2.5)  # the others are too far from one for 16 bits
