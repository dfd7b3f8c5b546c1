"""The canary: a small input with the reference's answer, run after every build and on the device."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.bundle import CANARY, Bundle
from segdino_deploy.errors import InputError
from segdino_deploy.evidence import mask_from_logits
from segdino_deploy.images import resize_rgb
from segdino_deploy.manifest import head_and_kind, output_name

CANDIDATES = 4

# uint8 `[N, H, W, 3]` to float32 logits `[N, C, H, W]` by head name: the PyTorch reference
Reference = Callable[[NDArray[np.uint8]], dict[str, NDArray[np.float32]]]


@dataclass(frozen=True)
class Canary:
    image: NDArray[np.uint8]  # [N, H, W, 3], N the smallest batch the model takes
    logits: dict[str, NDArray[np.float32]]  # by head: [N, C, H, W], the reference's
    mask: dict[str, NDArray[np.uint8]]  # by head: [N, H, W]

    @classmethod
    def answered(cls, image: NDArray[np.uint8], reference: Reference, thresholds: Mapping[str, float]) -> Canary:
        """The answer of `reference` to an image batch `[N, H, W, 3]`; `thresholds`: by head."""
        logits = reference(image)
        masks = {head: mask_from_logits(logits[head], threshold) for head, threshold in thresholds.items()}
        return cls(image, {head: logits[head] for head in thresholds}, masks)

    def to_bytes(self) -> bytes:
        """As `.npz`: arrays `image`, and `logits` and `mask` under the heads' tensor names (`polyp.logits`).

        The same canary gives the same bytes.
        """
        arrays: dict[str, NDArray[np.generic]] = {"image": self.image}
        for head in self.logits:
            arrays[output_name(head, "logits")] = self.logits[head]
            arrays[output_name(head, "mask")] = self.mask[head]
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()

    @classmethod
    def read(cls, path: Path) -> Canary:
        """InputError where the file is no canary."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                heads = [head for head, kind in map(head_and_kind, arrays.files) if kind == "logits"]
                logits = {head: arrays[output_name(head, "logits")] for head in heads}
                return cls(arrays["image"], logits, {head: arrays[output_name(head, "mask")] for head in heads})
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{path}: not a canary; export the checkpoint again") from error


def canary_for(bundle: Bundle, source: str) -> Canary:
    """What engines built from the ONNX file `source` must answer."""
    files = {model.file: model.canary for model in bundle.manifest.onnx.values()}
    return Canary.read(bundle.file(files.get(source, CANARY)))


def synthetic_image(size_hw: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """uint8 `[H, W, 3]`: smooth colour noise of three scales with bright and dark ellipses, equal on every machine."""
    rng = np.random.Generator(np.random.PCG64(seed))
    height, width = size_hw
    canvas = np.zeros((height, width, 3), np.float32)
    for cells, weight in ((4, 0.5), (16, 0.3), (64, 0.2)):
        coarse = rng.integers(0, 256, size=(min(cells, height), min(cells, width), 3), dtype=np.uint8)
        canvas += weight * resize_rgb(coarse, size_hw, "bicubic")
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    for _ in range(6):
        centre_y, centre_x = rng.uniform(0, height), rng.uniform(0, width)
        radius_y, radius_x = rng.uniform(0.05, 0.3, size=2) * (height, width)
        inside = ((rows - centre_y) / radius_y) ** 2 + ((columns - centre_x) / radius_x) ** 2 < 1
        canvas[inside] = 0.4 * canvas[inside] + 0.6 * rng.uniform(0, 255, size=3)
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8)


def make_canary(reference: Reference, size_hw: tuple[int, int], batch: int, thresholds: Mapping[str, float]) -> Canary:
    """Of a few synthetic images, the ones whose reference masks are least dominated by one class.

    `thresholds`: by head. A mask of a single class would show less; of several heads the most dominated one counts.
    """
    images = np.stack([synthetic_image(size_hw, seed) for seed in range(max(CANDIDATES, batch))])
    small_hw = _small(size_hw)  # enough to see which class dominates, at a fraction of the time
    dominance = []
    for image in images:
        logits = reference(resize_rgb(image, small_hw, "bilinear")[None])
        masks = [mask_from_logits(logits[head], threshold) for head, threshold in thresholds.items()]
        dominance.append(max(_dominance(mask) for mask in masks))
    chosen = images[np.argsort(dominance, kind="stable")[:batch]]
    answers = [reference(image[None]) for image in chosen]
    full = {head: np.concatenate([answer[head] for answer in answers]) for head in thresholds}
    return Canary(
        chosen, full, {head: mask_from_logits(full[head], threshold) for head, threshold in thresholds.items()}
    )


def _small(size_hw: tuple[int, int], side: int = 128, multiple: int = 16) -> tuple[int, int]:
    """The size with its longer side at most `side`, both sides multiples of the patch size."""
    scale = min(1.0, side / max(size_hw))
    height, width = (max(multiple, round(length * scale / multiple) * multiple) for length in size_hw)
    return height, width


def _dominance(mask: NDArray[np.uint8]) -> float:
    """Share of the most frequent class."""
    return float(np.bincount(mask.ravel()).max() / mask.size)
