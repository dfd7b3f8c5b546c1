"""ONNX against PyTorch: the same images through ONNX Runtime and through the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from segdino_deploy.canary import Canary, Reference
from segdino_deploy.engines.run.onnxruntime import open_session
from segdino_deploy.errors import SegdinoDeployError, one_line
from segdino_deploy.evidence import TOLERANCE, parity
from segdino_deploy.export.graph import INPUT, logits_of_heads, with_logits
from segdino_deploy.manifest import ParityRecord, Precision, head_and_kind

STATED_TYPE_OPSET = 21  # from which on QuantizeLinear may state its result's type


def random_images(batch: int, size_hw: tuple[int, int], seed: int = 1) -> NDArray[np.uint8]:
    """Uniform noise, uint8 `[batch, H, W, 3]`: far from any training image, so range and rounding errors show."""
    return np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (batch, *size_hw, 3), dtype=np.uint8)


def onnx_logits(model: onnx.ModelProto) -> Reference:
    """A function from uint8 `[N, H, W, 3]` to logits `[N, C, H, W]` by head, run by ONNX Runtime on the CPU."""
    import onnxruntime as ort

    try:
        session = open_session(with_logits(model).SerializeToString(), is_int8=_states_quantized_type(model))
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise SegdinoDeployError(
            f"the model cannot be checked: ONNX Runtime {ort.__version__} does not open it ({one_line(error)})"
        ) from error
    names = logits_of_heads(model)

    def run(images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        arrays = session.run(names, {INPUT: images})
        return {head_and_kind(name)[0]: array for name, array in zip(names, arrays, strict=True)}

    return run


def _states_quantized_type(model: onnx.ModelProto) -> bool:
    """Whether ONNX Runtime 1.32 must leave MatMul and Add apart: Q/DQ in opset 21 or later.

    It would make Gemm of them and write a QuantizeLinear for it that states its type, which opset 21 has brought. Then
    it makes unsigned zero points of signed ones, forgets the stated type, and refuses its own graph.
    """
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return opset >= STATED_TYPE_OPSET and any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def measure_parity(
    model: onnx.ModelProto,
    precision: Precision,
    canary: Canary,
    thresholds: Mapping[str, float],
    reference: Reference | None = None,
    max_batch: int | None = None,
) -> list[ParityRecord]:
    """Parity of an ONNX model on the canary and, where the PyTorch `reference` is at hand, on random images.

    One record per head (`thresholds`: by head) and kind of images.
    The canary must be within the precision's tolerance; on random noise, which no model was made for, fp32 must be.
    """
    run = onnx_logits(model)
    tolerance = TOLERANCE[precision]
    batch, height, width = canary.image.shape[:3]
    pairs = {"canary": (canary.logits, run(canary.image))}
    if reference is not None:
        # A dynamic batch is run at two sizes: one that was baked in somewhere would show.
        batches = dict.fromkeys((batch, min(batch + 1, max_batch or batch)))
        images = [random_images(n, (height, width), seed) for seed, n in enumerate(batches, start=1)]
        pairs["random"] = (_concatenated([reference(image) for image in images]), _concatenated(list(map(run, images))))
    return [
        parity(kind, "onnxruntime", expected[head], found[head], threshold, tolerance, head)
        for head, threshold in thresholds.items()
        for kind, (expected, found) in pairs.items()
    ]


def _concatenated(answers: Sequence[dict[str, NDArray[np.float32]]]) -> dict[str, NDArray[np.float32]]:
    return {head: np.concatenate([answer[head] for answer in answers]) for head in answers[0]}
