"""The model that simulated and tiny engines compute: colours as logits, the brightest one as the class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.manifest import BackboneCard, BatchRange, CheckpointCard, HeadCard, ModelCard


def make_card(low: int = 1, high: int = 1, size: tuple[int, int] = (16, 32), classes: int = 3) -> ModelCard:
    """One head with masks and logits."""
    head = HeadCard(
        family="v2",
        num_classes=classes,
        class_names=[str(number) for number in range(classes)],
        outputs=["mask", "logits"],
        threshold=0.5,
        taps=(0, 1, 2, 3),
        resize_filter="bilinear",
        checkpoint=CheckpointCard(name="x.pth", sha256="0"),
    )
    return ModelCard(
        heads=[head],
        input_size=size,
        batch=BatchRange(min=low, opt=low, max=high),
        mean=(0, 0, 0),
        std=(1, 1, 1),
        resize_filter="bilinear",
        backbone=BackboneCard(embed_dim=8, depth=4, num_heads=1, ffn="mlp", ffn_hidden_dim=8, num_registers=0),
    )


def make_images(card: ModelCard, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """uint8 `[count, H, W, 3]`."""
    return np.random.default_rng(seed).integers(0, 256, (count, *card.input_size, 3), dtype=np.uint8)


def answer(image: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """What an engine of it must give."""
    logits = image.transpose(0, 3, 1, 2).astype(np.float32) / 2  # [N, H, W, 3] -> [N, 3, H, W]
    return {"mask": logits.argmax(axis=1).astype(np.uint8), "logits": logits}


def assert_answers(outputs: Mapping[str, Any], image: NDArray[np.uint8]) -> None:
    """Halves of whole numbers are exact; of equally bright colours a GPU may take either."""
    expected = answer(image)
    assert list(outputs) == ["mask", "logits"]
    for name, array in outputs.items():
        assert (array.dtype, array.shape) == (expected[name].dtype, expected[name].shape)
    np.testing.assert_array_equal(outputs["logits"], expected["logits"])
    chosen = np.take_along_axis(expected["logits"], outputs["mask"][:, None].astype(np.int64), axis=1)  # [N, 1, H, W]
    np.testing.assert_array_equal(chosen[:, 0], expected["logits"].max(axis=1))
