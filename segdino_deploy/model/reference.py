"""The reference: the faithful PyTorch model in fp32, fed with the uint8 images that engines are fed with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from segdino_deploy.model.segdino import SegDINO


def reference_logits(
    models: Mapping[str, SegDINO], images_nhwc: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]
) -> dict[str, NDArray[np.float32]]:
    """Logits float32 `[N, C, H, W]` of uint8 RGB images `[N, H, W, 3]`, normalised as (u / 255 - mean) / std.

    One answer per model, under its name. Each model runs whole, backbone included, as it would without the others.
    """
    pixels = torch.tensor(images_nhwc).permute(0, 3, 1, 2).float() / 255  # [N, 3, H, W]
    image = (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.inference_mode():
        return {name: model(image).numpy() for name, model in models.items()}
