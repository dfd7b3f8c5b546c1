"""The models of one case: random weights, both exports as bundles, and what PyTorch eager in fp32 answers."""

from __future__ import annotations

import copy
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from segdino_deploy import __version__
from segdino_deploy.benchmarks.gpu.plan import Case
from segdino_deploy.benchmarks.gpu.suite import ExportName
from segdino_deploy.benchmarks.graph.models import VIT_S, random_segdino, save_checkpoint
from segdino_deploy.bundle import CANARY, Bundle
from segdino_deploy.canary import Canary, make_canary
from segdino_deploy.engines.precision.typed import make_typed_model
from segdino_deploy.export.fold import FoldedSegDINO
from segdino_deploy.export.fold.outputs import mask_from_logits
from segdino_deploy.export.graph import select_outputs, with_card
from segdino_deploy.export.options import IMAGENET_MEAN, IMAGENET_STD, ExportOptions
from segdino_deploy.export.pipeline import FP32_FILE, export_model
from segdino_deploy.export.plain import PlainSegDINO, trace_plain
from segdino_deploy.manifest import OUTPUTS, BatchRange, Manifest, ModelCard, OutputName, Precision
from segdino_deploy.model.dinov3 import ViTConfig
from segdino_deploy.model.reference import reference_logits
from segdino_deploy.model.segdino import SegDINO
from segdino_deploy.receipts import typed_model_record

VITS = {
    "tiny": ViTConfig(embed_dim=32, depth=12, num_heads=2, ffn="mlp", ffn_hidden_dim=64),
    "s": VIT_S,
    "b": ViTConfig(embed_dim=768, depth=12, num_heads=12, ffn="mlp", ffn_hidden_dim=3072),
}
# Logits, to be compared; every contestant gives both, so that all of them write and copy the same.
CASE_OUTPUTS: tuple[OutputName, ...] = ("mask", "logits")
THRESHOLD = 0.5
HEAD = ""  # the only one has no name


class CaseOutputs(nn.Module):
    """A module with all three outputs behind the two of a case: uint8 `[N, H, W, 3]` to (mask, logits)."""

    def __init__(self, module: nn.Module, threshold: float) -> None:
        super().__init__()
        self.module = module
        self.threshold = threshold

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.module(image)[OUTPUTS.index("logits")].float()  # 16 bits under autocast
        return mask_from_logits(logits, self.threshold), logits


class CaseModels:
    """Everything is made when it is first asked for. `directory`: for its files, some GiB for ViT-B."""

    def __init__(self, case: Case, directory: Path) -> None:
        self.case = case
        self.directory = directory
        self._bundles: dict[ExportName, Bundle] = {}
        self._failures: dict[ExportName, Exception] = {}

    @cached_property
    def canary(self) -> Canary:
        """Images, and the logits and masks of PyTorch eager in fp32, computed on the processor."""

        def reference(images_nhwc: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
            return reference_logits({HEAD: self.model}, images_nhwc, IMAGENET_MEAN, IMAGENET_STD)

        return make_canary(reference, (self.case.size, self.case.size), self.case.batch, self.thresholds)

    @property
    def thresholds(self) -> dict[str, float]:
        return {HEAD: THRESHOLD}

    @cached_property
    def model(self) -> SegDINO:
        return random_segdino(self.case.family, VITS[self.case.vit], self.case.seed)

    @property
    def card(self) -> ModelCard:
        return self.bundle("folded").manifest.model

    def module(self, export: ExportName) -> nn.Module:
        """A module of its own for PyTorch, on the processor: the faithful model, or the folded one."""
        model = copy.deepcopy(self.model)
        if export == "plain":
            return CaseOutputs(PlainSegDINO(model, IMAGENET_MEAN, IMAGENET_STD, THRESHOLD), THRESHOLD).eval()
        size = (self.case.size, self.case.size)
        folded = FoldedSegDINO({HEAD: model}, size, IMAGENET_MEAN, IMAGENET_STD, self.thresholds)
        return CaseOutputs(folded, THRESHOLD).eval()

    def bundle(self, export: ExportName) -> Bundle:
        """A bundle with the fp32 model and what was made of it so far. An export that failed fails again, at once."""
        if export in self._failures:
            raise self._failures[export]
        if export not in self._bundles:
            try:
                self._bundles[export] = self._export_folded() if export == "folded" else self._export_plain()
            except Exception as error:
                self._failures[export] = error
                raise
        return self._bundles[export]

    def typed(self, export: ExportName, precision: Precision) -> Path:
        """The ONNX file of a precision in floating point, as every backend gets it; made once."""
        bundle = self.bundle(export)
        if precision not in bundle.manifest.onnx:
            made = make_typed_model(bundle, precision, "onnxruntime")

            def add(manifest: Manifest) -> Manifest:
                return manifest.model_copy(update={"onnx": {**manifest.onnx, made.key: made.record}})

            bundle.update(dict(made.files), add)
        return bundle.file(bundle.manifest.onnx[precision].file)

    def _export_folded(self) -> Bundle:
        batch = BatchRange(min=self.case.batch, opt=self.case.batch, max=self.case.batch)
        options = ExportOptions((self.case.size, self.case.size), batch, CASE_OUTPUTS, threshold=THRESHOLD)
        checkpoint = save_checkpoint(self.model, self.directory / "model.pth")
        return export_model(checkpoint, self.directory / "folded.segdino", options)

    def _export_plain(self) -> Bundle:
        """Around the plain graph, with the folded one's card and canary."""
        folded = self.bundle("folded")
        card = folded.manifest.model
        graph = trace_plain(self.model, card.input_size, card.batch, card.mean, card.std, THRESHOLD)
        graph = with_card(select_outputs(graph, card.output_names), card)
        record = typed_model_record(graph, FP32_FILE, "fp32", parity=[])
        content = {
            FP32_FILE: graph.SerializeToString(deterministic=True),
            CANARY: folded.file(CANARY).read_bytes(),
        }
        manifest = Manifest(tool_version=__version__, model=card, onnx={"fp32": record})
        return Bundle.create(self.directory / "plain.segdino", manifest, content)
