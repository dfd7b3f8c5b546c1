"""Small pictures of a drawn slice, as a run would leave them beside its report."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segdino_deploy.images import overlay
from tests.benchmarks.report.example_numbers import Contestant


def draw_pictures(entry: Contestant, index: int, pictures: dict[str, bytes], has_truth: bool) -> dict[str, str | None]:
    """Overlays of a drawn slice of 192x256 pixels, whose engine's masks are shifted."""
    random = np.random.default_rng(index)
    y, x = np.mgrid[:192, :256]
    grey = 70 + 60 * np.exp(-((x - 128) ** 2 + (y - 96) ** 2) / 5000) + random.normal(0, 9, (192, 256))
    image = np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)

    def mask(shift: float) -> NDArray[np.uint8]:
        out = (((x - 128 - shift) / 80) ** 2 + ((y - 96) / 62) ** 2 < 1).astype(np.uint8)
        out[((x - 118 - shift) / 40) ** 2 + ((y - 92) / 30) ** 2 < 1] = 2
        out[((x - 160) / (14 - shift / 2)) ** 2 + ((y - 110) / 12) ** 2 < 1] = 3
        return out

    reference, engine = mask(0), mask(300 * entry.loss)
    different = image.copy()
    different[reference != engine] = (255, 0, 255)
    shown = {"reference": overlay(image, reference), "engine": overlay(image, engine), "disagreement": different}
    if has_truth:
        shown["truth"] = overlay(image, mask(-2))
    paths: dict[str, str | None] = {"truth_picture": None}
    for kind, pixels in shown.items():
        path = f"worst/{entry.name}/{index:03}.{kind}.png"
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="PNG")
        pictures[path] = buffer.getvalue()
        paths[f"{kind}_picture"] = path
    return paths
