"""The reference: the faithful PyTorch model in fp32, fed with the uint8 images that engines are fed with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from segdino_deploy.model.segdino import SegDINO


def reference_logits(
    model: SegDINO, images_nhwc: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]
) -> NDArray[np.float32]:
    """Logits float32 `[N, C, H, W]` of uint8 RGB images `[N, H, W, 3]`, normalised as (u / 255 - mean) / std."""
    pixels = torch.tensor(images_nhwc).permute(0, 3, 1, 2).float() / 255  # [N, 3, H, W]
    image = (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.inference_mode():
        logits: NDArray[np.float32] = model(image).numpy()
    return logits
