"""Overlays of images that are too large for one."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from segdino_deploy.canary import synthetic_image
from segdino_deploy.images import overlay
from segdino_deploy.tiles import overview
from segdino_deploy.tiles.overview import Overview

IMAGE = synthetic_image((190, 331), seed=5)
MASK = (IMAGE[..., 0] > 127).astype(np.uint8) + (IMAGE[..., 1] > 200)


def picture(step: int) -> np.ndarray:
    view = Overview((190, 331), ["", "other"])
    for top in range(0, 190, step):
        view.add_image(IMAGE[top : top + step])
        view.add_mask("", MASK[top : top + step])
        view.add_mask("other", np.zeros_like(MASK[top : top + step]))
    return view.picture("")


def test_an_image_of_a_common_size_is_shown_as_it_is() -> None:
    np.testing.assert_array_equal(picture(step=50), overlay(IMAGE, MASK))


@pytest.mark.parametrize("step", [1, 7, 64, 190])
def test_a_large_one_is_reduced_by_a_whole_number(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "MAX_PIXELS", 5000)  # a factor of sqrt(190 * 331 / 5000) = 3.5, so 4

    shown = picture(step)

    mean = np.asarray(Image.fromarray(IMAGE[:188, :328]).reduce(4))  # what is left of whole blocks is not shown
    expected = overlay(mean, MASK[2:188:4, 2:328:4])
    assert shown.shape == (47, 82, 3)
    assert np.abs(shown.astype(int) - expected).max() <= 1  # two ways to round a mean


def test_a_frame_of_a_4k_video_is_not_reduced() -> None:
    assert Overview((2160, 3840), [""]).factor == 1


def test_a_line_of_pixels_has_an_overlay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "MAX_PIXELS", 100)
    view = Overview((1, 5000), [""])

    view.add_image(np.full((1, 5000, 3), 9, np.uint8))
    view.add_mask("", np.zeros((1, 5000), np.uint8))

    assert view.picture("").shape == (1, 5000, 3)
