"""The reference as a runner: the faithful PyTorch model in fp32, one per head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.atomic import sha256_of
from segdino_deploy.engines.run.contract import Array, Bound, Runner
from segdino_deploy.errors import InputError
from segdino_deploy.evidence import mask_from_logits, probability_from_logits
from segdino_deploy.manifest import ModelCard, output_name
from segdino_deploy.requirements import require_module


class TorchRunner(Runner):
    """PyTorch eager, fp32, CPU. Several heads are several whole models, run one after the other."""

    backend = "torch"
    precision = "fp32"
    device = "CPU"

    def __init__(
        self,
        card: ModelCard,
        checkpoints: Sequence[Path],
        backbone_weights: Path | None = None,
        threads: int | None = None,
    ) -> None:
        """Raises InputError where `checkpoints` are not the files, one per head, the model was exported from."""
        super().__init__(card)
        torch = require_module("torch", "the PyTorch reference", extra="export")
        if threads:
            torch.set_num_threads(threads)
        from segdino_deploy.model.joint import load_models

        files = match_checkpoints(card, checkpoints)
        wanted = card.heads[0].checkpoint
        weights = backbone_weights
        if weights and weights.is_file() and sha256_of(weights) != wanted.backbone_weights_sha256:
            raise InputError(f"{weights}: is not the file this bundle was exported from ({wanted.name}, other sha256)")
        self.models = load_models(files, {head.name: head.taps for head in card.heads}, backbone_weights)

    def _run(self, image_nhwc: NDArray[np.uint8]) -> dict[str, Array]:
        from segdino_deploy.model.reference import reference_logits

        answers = reference_logits(self.models, image_nhwc, self.card.mean, self.card.std)
        outputs: dict[str, Array] = {}
        for head in self.card.heads:
            logits = answers[head.name]
            outputs[output_name(head.name, "mask")] = mask_from_logits(logits, head.threshold)
            outputs[output_name(head.name, "logits")] = logits
            if "probability" in head.outputs:
                outputs[output_name(head.name, "probability")] = probability_from_logits(logits)
        return {name: outputs[name] for name in self.card.output_names}

    def _bind(self, image_nhwc: NDArray[np.uint8]) -> Bound:
        """From the uint8 batch to the outputs, as engines do: normalisation and classes are part of their graphs too.

        PyTorch on the CPU computes in host memory, so that nothing is left out against `run`: the only copy there is
        that of the uint8 batch into a tensor, N * H * W * 3 bytes.
        """
        outputs: dict[str, Array] = {}

        def run() -> None:
            outputs.update(self._run(image_nhwc))

        return Bound(run, lambda: {name: array.copy() for name, array in outputs.items()})


def match_checkpoints(card: ModelCard, checkpoints: Sequence[Path]) -> dict[str, Path]:
    """Checkpoint by head, matched by sha256. InputError: a file of no head, a head without a file."""
    heads = {head.checkpoint.sha256: head for head in card.heads}
    files: dict[str, Path] = {}
    for path in checkpoints:
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        head = heads.get(sha256_of(path))
        if head is None:
            names = ", ".join(head.checkpoint.name for head in card.heads)
            raise InputError(f"{path}: is not the file this bundle was exported from ({names}, other sha256)")
        files[head.name] = path
    for head in card.heads:
        if head.name not in files:
            raise InputError(f"--reference: the head {head.name} has none; add its checkpoint {head.checkpoint.name}")
    return {head.name: files[head.name] for head in card.heads}
