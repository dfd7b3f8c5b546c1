"""ONNX against PyTorch: the same images through ONNX Runtime and through the reference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from numpy.typing import NDArray

from segdino_deploy.canary import Canary
from segdino_deploy.evidence import TOLERANCE, parity
from segdino_deploy.export.graph import INPUT, LOGITS, with_logits
from segdino_deploy.manifest import ParityRecord, Precision


def random_images(batch: int, size_hw: tuple[int, int], seed: int = 1) -> NDArray[np.uint8]:
    """Uniform noise, uint8 `[batch, H, W, 3]`: far from any training image, so range and rounding errors show."""
    return np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (batch, *size_hw, 3), dtype=np.uint8)


def onnx_logits(model: onnx.ModelProto) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """A function from uint8 `[N, H, W, 3]` to logits `[N, C, H, W]`, run by ONNX Runtime on the CPU."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(with_logits(model).SerializeToString(), options, providers=["CPUExecutionProvider"])

    def run(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = session.run([LOGITS], {INPUT: images})[0]
        return logits

    return run


def measure_parity(
    model: onnx.ModelProto,
    precision: Precision,
    canary: Canary,
    threshold: float,
    reference: Callable[[NDArray[np.uint8]], NDArray[np.float32]] | None = None,
    max_batch: int | None = None,
) -> list[ParityRecord]:
    """Parity of an ONNX model on the canary and, where the PyTorch `reference` is at hand, on random images.

    The canary must be within the precision's tolerance; on random noise, which no model was made for, fp32 must be.
    """
    run = onnx_logits(model)
    tolerance = TOLERANCE[precision]
    batch, height, width = canary.image.shape[:3]
    records = [parity("canary", "onnxruntime", canary.logits, run(canary.image), threshold, tolerance)]
    if reference is not None:
        # A dynamic batch is run at two sizes: one that was baked in somewhere would show.
        batches = [batch, min(batch + 1, max_batch or batch)]
        images = [random_images(n, (height, width), seed) for seed, n in enumerate(batches, start=1)]
        expected = np.concatenate([reference(image) for image in images])
        found = np.concatenate([run(image) for image in images])
        records.append(parity("random", "onnxruntime", expected, found, threshold, tolerance))
    return records
