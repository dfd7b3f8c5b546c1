"""Trains the small SegDINO checkpoint of the demo: white matter in brain MRI slices, v1_convt keys.

    python examples/mri/train.py --data DIR     # DIR/{train,test}/{image,mask}, masks: 0, 1 grey, 2 white matter

Backbone and head are trained together from scratch (released DINOv3 weights are not redistributable here), so this
checkpoint shows the path, not the accuracy of SegDINO. About 18 minutes on two cores. Writes `small_v1_convt.pth`
(float16) and `training.json` (settings, loss per epoch, Dice on the test split) beside this script.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from segdino_deploy.model.dinov3 import ViTConfig
from segdino_deploy.model.heads import HeadConfig
from segdino_deploy.model.segdino import SegDINO

WHITE_MATTER = 2  # its class index in the masks
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
VIT = ViTConfig(embed_dim=96, depth=12, num_heads=3, ffn="mlp", ffn_hidden_dim=384)
HEAD = HeadConfig("v1_convt", embed_dim=96, num_classes=1, widths=(24, 48, 96, 192), features=64)


def load_split(directory: Path) -> tuple[Tensor, Tensor]:
    """All slices of a split: uint8 images `[S, 1, 256, 256]` and float masks `[S, 1, 256, 256]`."""
    images, masks = [], []
    for path in sorted((directory / "image").iterdir()):
        images.append(np.asarray(Image.open(path).convert("L")))
        masks.append(np.asarray(Image.open(directory / "mask" / path.name)) == WHITE_MATTER)
    return torch.from_numpy(np.stack(images))[:, None], torch.from_numpy(np.stack(masks))[:, None].float()


def normalise(grey: Tensor) -> Tensor:
    """uint8 `[N, 1, H, W]` to the model's input `[N, 3, H, W]`."""
    return (grey.float().expand(-1, 3, -1, -1) / 255 - MEAN) / STD


def augment(images: Tensor, masks: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Flips, rotation up to 15 degrees, scale and shift up to 10%, gain and gamma; one draw per slice."""
    n = images.shape[0]

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(n, generator=rng) * (high - low) + low

    angle, scale, flip = uniform(-0.26, 0.26), uniform(0.9, 1.1), torch.randint(0, 2, (n,), generator=rng) * 2 - 1
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = [
        torch.stack([cos * flip, -sin, uniform(-0.1, 0.1)], 1),
        torch.stack([sin * flip, cos, uniform(-0.1, 0.1)], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)  # [N, H, W, 2]
    warped = F.grid_sample(images.float() / 255, grid, align_corners=False)
    warped_masks = F.grid_sample(masks, grid, mode="nearest", align_corners=False)
    gain, gamma = uniform(0.8, 1.2).view(n, 1, 1, 1), uniform(0.8, 1.25).view(n, 1, 1, 1)
    return (warped.clamp_min(0) ** gamma * gain).clamp(0, 1) * 255, warped_masks


def initialise(model: SegDINO) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.04)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for token in (model.backbone.cls_token, model.backbone.storage_tokens):
        nn.init.normal_(token, std=0.02)


def loss_of(logits: Tensor, masks: Tensor) -> Tensor:
    """Binary cross-entropy plus soft Dice."""
    probability = logits.sigmoid()
    overlap = 2 * (probability * masks).sum((1, 2, 3)) + 1
    dice = overlap / (probability.sum((1, 2, 3)) + masks.sum((1, 2, 3)) + 1)
    return F.binary_cross_entropy_with_logits(logits, masks) + 1 - dice.mean()


@torch.no_grad()
def mean_dice(model: SegDINO, images: Tensor, masks: Tensor) -> float:
    """Mean of the per-slice Dice at threshold 0.5 (two empty masks count 1)."""
    scores = []
    for image, mask in zip(images.split(1), masks.split(1), strict=True):
        predicted = (model(normalise(image)) > 0).float()
        total = float(predicted.sum() + mask.sum())
        scores.append(2 * float((predicted * mask).sum()) / total if total else 1.0)
    return sum(scores) / len(scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    rng = torch.Generator().manual_seed(args.seed)
    images, masks = load_split(args.data / "train")
    test_images, test_masks = load_split(args.data / "test")
    model = SegDINO(VIT, HEAD, taps=(2, 5, 8, 11))
    initialise(model)
    decay = [p for p in model.parameters() if p.ndim > 1]
    no_decay = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": 0.05}, {"params": no_decay, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=args.lr)
    steps = args.epochs * math.ceil(len(images) / args.batch)
    warmup = steps // 20
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda s: s / warmup if s < warmup else 0.5 * (1 + math.cos(math.pi * (s - warmup) / (steps - warmup))),
    )
    losses, started = [], time.monotonic()
    for epoch in range(args.epochs):
        total = 0.0
        for batch in torch.randperm(len(images), generator=rng).split(args.batch):
            x, y = augment(images[batch], masks[batch], rng)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = model(normalise(x))
            loss = loss_of(logits.float(), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        losses.append(round(total / len(images), 4))
        elapsed = time.monotonic() - started
        left = elapsed / (epoch + 1) * (args.epochs - epoch - 1)
        print(f"epoch {epoch + 1}/{args.epochs}  loss {losses[-1]:.4f}  {elapsed:.0f} s, {left:.0f} s left", flush=True)

    half = {key: value.half() if value.is_floating_point() else value for key, value in model.state_dict().items()}
    torch.save({"epoch": args.epochs, "state_dict": half}, args.output / "small_v1_convt.pth")
    model.load_state_dict({key: value.float() for key, value in half.items()})
    dice = mean_dice(model.eval(), test_images, test_masks)
    settings = {k: v for k, v in vars(args).items() if k in ("epochs", "batch", "lr", "seed")}
    result = {**settings, "minutes": round((time.monotonic() - started) / 60, 1), "test_slices": len(test_images)}
    result |= {"test_dice_white_matter_256": round(dice, 4), "loss_per_epoch": losses}
    (args.output / "training.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"test Dice {dice:.4f} over {len(test_images)} slices")


if __name__ == "__main__":
    main()
