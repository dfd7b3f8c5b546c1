"""What `export` can be asked for, checked before anything heavy starts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from segdino_deploy.errors import InputError
from segdino_deploy.manifest import OUTPUTS, BatchRange, OutputName, ResizeFilter

PATCH_SIZE = 16  # of every DINOv3 ViT; stated here too so that checking a size needs no torch
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
RESIZE_FILTER: dict[str, ResizeFilter] = {
    "v1_paper": "bicubic",
    "v1_convt": "bicubic",
    "fine_grained": "bicubic",
    "v2_initial": "bilinear",
    "v2": "bilinear",
}
MAX_CLASSES = 256  # a mask is uint8


@dataclass(frozen=True)
class ExportOptions:
    """How a checkpoint is exported. Raises InputError where a value cannot work."""

    input_size: tuple[int, int] = (256, 256)  # H, W in pixels, multiples of 16
    batch: BatchRange = field(default_factory=BatchRange)
    outputs: tuple[OutputName, ...] = ("mask",)
    class_names: tuple[str, ...] | None = None
    threshold: float = 0.5  # probability, one class only
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        for side in self.input_size:
            if side < PATCH_SIZE or side % PATCH_SIZE:
                lower = max(PATCH_SIZE, side // PATCH_SIZE * PATCH_SIZE)
                near = f"{lower} or {lower + PATCH_SIZE}" if side >= PATCH_SIZE else f"{PATCH_SIZE}"
                raise InputError(f"--size: {side} is no multiple of {PATCH_SIZE}; the nearest are {near}")
        if not self.batch.min <= self.batch.opt <= self.batch.max:
            raise InputError("--batch: MIN:OPT:MAX must not decrease")
        if not self.outputs:
            raise InputError(f"--outputs: name at least one of {', '.join(OUTPUTS)}")
        if len(set(self.outputs)) != len(self.outputs):
            raise InputError("--outputs: each output once")
        if not 0 < self.threshold < 1:
            raise InputError(f"--threshold: {self.threshold} is not between 0 and 1")
        if min(self.std) <= 0:
            raise InputError("--std: every value must be positive")


def parse_size(text: str) -> tuple[int, int]:
    """`256` or `544x960` (height x width) to (H, W). InputError otherwise."""
    match = re.fullmatch(r"(\d+)(?:[xX](\d+))?", text.strip())
    if match is None:
        raise InputError(f"--size: {text!r} is not HxW or one number, such as 256 or 544x960")
    height = int(match.group(1))
    return height, int(match.group(2) or height)


def parse_batch(text: str) -> BatchRange:
    """`4` (fixed) or `1:4:16` (dynamic: min, optimum, max). InputError otherwise."""
    match = re.fullmatch(r"([1-9]\d*)(?::([1-9]\d*):([1-9]\d*))?", text.strip())
    if match is None:
        raise InputError(f"--batch: {text!r} is not a number or MIN:OPT:MAX, such as 1 or 1:4:16")
    low, opt, high = match.groups()
    return BatchRange(min=int(low), opt=int(opt or low), max=int(high or low))


def parse_outputs(text: str) -> tuple[OutputName, ...]:
    """`mask,logits` to output names. InputError names the ones that exist."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    chosen = tuple(known for name in names for known in OUTPUTS if known == name)
    if len(chosen) != len(names):
        wrong = next(name for name in names if name not in OUTPUTS)
        raise InputError(f"--outputs: {wrong!r} is none of {', '.join(OUTPUTS)}")
    return chosen


def parse_triple(option: str, text: str | None) -> tuple[float, float, float] | None:
    """`.485,.456,.406` to three floats; None stays None. InputError names the option."""
    if text is None:
        return None
    try:
        first, second, third = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{option}: {text!r} is not three numbers separated by commas") from error
    return first, second, third
