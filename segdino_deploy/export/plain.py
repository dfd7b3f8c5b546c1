"""The export without rewrites: what `torch.onnx.export` makes of the faithful model. Only ever compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
import torch
from torch import Tensor, nn

from segdino_deploy.export.fold.outputs import mask_from_logits, probability_from_logits
from segdino_deploy.export.graph import select_outputs
from segdino_deploy.export.operations import count_stages
from segdino_deploy.export.trace import trace
from segdino_deploy.manifest import OUTPUTS, BatchRange, ModelCard, StageCount, output_name
from segdino_deploy.model.segdino import SegDINO


class PlainSegDINO(nn.Module):
    """The faithful model behind the same input and outputs: uint8 `[N, H, W, 3]` to (mask, probability, logits)."""

    def __init__(self, model: SegDINO, mean: Sequence[float], std: Sequence[float], threshold: float) -> None:
        super().__init__()
        self.model = model
        self.threshold = threshold
        self.mean, self.std = (nn.Buffer(torch.tensor(values).view(3, 1, 1)) for values in (mean, std))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pixels = image.float().permute(0, 3, 1, 2) / 255  # [N, 3, H, W]; TensorRT casts uint8 first or not at all
        logits = self.model((pixels - self.mean) / self.std)
        return mask_from_logits(logits, self.threshold), probability_from_logits(logits), logits


def trace_plain(
    model: SegDINO,
    input_hw: tuple[int, int],
    batch: BatchRange,
    mean: Sequence[float],
    std: Sequence[float],
    threshold: float,
) -> onnx.ModelProto:
    """The graph of the faithful model with all three outputs, by the same exporter and simplifier."""
    return trace(PlainSegDINO(model, mean, std, threshold).eval(), input_hw, batch, OUTPUTS)


def count_plain(models: Mapping[str, SegDINO], card: ModelCard) -> dict[str, StageCount]:
    """Nodes and multiply-adds per stage of plain exports, one per head, each with a backbone of its own."""
    total: dict[str, StageCount] = {}
    for head in card.heads:
        plain = trace_plain(models[head.name], card.input_size, card.batch, card.mean, card.std, head.threshold)
        outputs = [output_name("", kind) for kind in head.outputs]
        for stage, count in count_stages(select_outputs(plain, outputs)).items():
            stage = f"head {head.name}" if stage == "head" and head.name else stage
            total[stage] = total.get(stage, StageCount()) + count
    return total
