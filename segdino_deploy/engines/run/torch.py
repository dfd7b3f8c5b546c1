"""The reference as a runner: the faithful PyTorch model in fp32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.atomic import sha256_of
from segdino_deploy.engines.run.contract import Array, Runner
from segdino_deploy.errors import InputError
from segdino_deploy.evidence import mask_from_logits, probability_from_logits
from segdino_deploy.manifest import ModelCard
from segdino_deploy.requirements import require_module


class TorchRunner(Runner):
    """PyTorch eager, fp32, CPU."""

    backend = "torch"
    precision = "fp32"
    device = "CPU"

    def __init__(
        self,
        card: ModelCard,
        checkpoint: Path,
        backbone_weights: Path | None = None,
        threads: int | None = None,
    ) -> None:
        """Raises InputError where `checkpoint` is not the file the model was exported from."""
        super().__init__(card)
        torch = require_module("torch", "the PyTorch reference", extra="export")
        if threads:
            torch.set_num_threads(threads)
        from segdino_deploy.model.checkpoint import load_segdino

        wanted = card.checkpoint
        for path, sha256 in ((checkpoint, wanted.sha256), (backbone_weights, wanted.backbone_weights_sha256)):
            if path is not None and path.is_file() and sha256_of(path) != sha256:
                raise InputError(f"{path}: is not the file this bundle was exported from ({wanted.name}, other sha256)")
        self.model = load_segdino(checkpoint, taps=card.taps, backbone_weights=backbone_weights)

    def _run(self, image_nhwc: NDArray[np.uint8]) -> dict[str, Array]:
        from segdino_deploy.model.reference import reference_logits

        logits = reference_logits(self.model, image_nhwc, self.card.mean, self.card.std)
        outputs: dict[str, Array] = {"mask": mask_from_logits(logits, self.card.threshold), "logits": logits}
        if "probability" in self.card.outputs:
            outputs["probability"] = probability_from_logits(logits)
        return {name: outputs[name] for name in self.card.outputs}
