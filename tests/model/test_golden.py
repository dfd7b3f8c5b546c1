"""The model against upstream's own outputs."""

from __future__ import annotations

import numpy as np
import torch

from segdino_deploy import load_segdino
from segdino_deploy.model.reference import reference_logits
from tests.conftest import IMAGENET_MEAN, IMAGENET_STD, Golden


def test_golden_checkpoints_load_without_a_hint(golden: Golden) -> None:
    model = load_segdino(golden.checkpoint)

    assert (model.family, model.num_classes, model.taps) == (golden.family, golden.num_classes, golden.taps)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_logits_equal_upstreams(golden: Golden) -> None:
    logits = reference_logits({"": load_segdino(golden.checkpoint)}, golden.image, IMAGENET_MEAN, IMAGENET_STD)[""]

    allowed = 1e-5 * max(1.0, float(np.abs(golden.logits).max()))
    np.testing.assert_allclose(logits, golden.logits, rtol=0, atol=allowed)


def test_last_tap_equals_upstreams_features(golden: Golden) -> None:
    model = load_segdino(golden.checkpoint)
    pixels = torch.tensor(golden.image).permute(0, 3, 1, 2).float() / 255
    image = (pixels - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)

    with torch.no_grad():
        features = model.backbone.get_intermediate_layers(image, model.taps)[-1]

    np.testing.assert_allclose(features.numpy(), golden.features_last, rtol=0, atol=1e-5)
