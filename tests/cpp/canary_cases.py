"""Bundles whose engines hold nothing, and answers for them: the probe of the canary gives these as the engine's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from segdino_deploy import Bundle
from segdino_deploy.canary import Canary
from segdino_deploy.evidence import mask_from_logits, probability_from_logits
from segdino_deploy.manifest import PRECISIONS, Engine, Manifest, OutputName, Precision

Float = NDArray[np.float32]
Array = NDArray[np.generic]
Answers = dict[str, Array]


def add_engines(bundle: Bundle) -> None:
    """One of each precision."""

    def engine(precision: Precision) -> Engine:
        file = f"engines/{precision}.onnx"
        return Engine(file=file, backend="onnxruntime", precision=precision, source="model.onnx", built_with={})

    engines = {f"onnxruntime-{precision}": engine(precision) for precision in PRECISIONS}
    bundle.update(
        {engine.file: b"" for engine in engines.values()},
        lambda manifest: manifest.model_copy(update={"engines": engines}),
    )


def with_outputs(bundle: Bundle, outputs: tuple[OutputName, ...], threshold: float | None = None) -> Bundle:
    """The same bundle, as if it had been exported with other outputs."""

    def change(manifest: Manifest) -> Manifest:
        heads = [
            head.model_copy(update={"outputs": list(outputs), "threshold": threshold or head.threshold})
            for head in manifest.model.heads
        ]
        return manifest.model_copy(update={"model": manifest.model.model_copy(update={"heads": heads})})

    bundle.update({}, change)
    return bundle


def answer_with(canary: Canary, bundle: Bundle, change: Callable[[Float], Float]) -> Answers:
    """What an engine gives whose logits are `change` of the reference's."""
    answers: Answers = {}
    for head in bundle.manifest.model.heads:
        logits = change(canary.logits[head.name].copy())
        with np.errstate(invalid="ignore"):
            of_kind = {
                "logits": logits,
                "mask": mask_from_logits(logits, head.threshold),
                "probability": probability_from_logits(logits),
            }
        for kind in head.outputs:
            answers[f"{head.name}.{kind}" if head.name else kind] = of_kind[kind]
    return answers
