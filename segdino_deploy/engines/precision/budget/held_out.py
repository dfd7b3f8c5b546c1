"""Held-out images: what a plan loses on them, against the fp32 model and, where there are masks, against the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.atomic import sha256_of
from segdino_deploy.benchmarks.accuracy.agreement import boundary_band
from segdino_deploy.benchmarks.accuracy.scores import score
from segdino_deploy.benchmarks.data.heads import choose_head
from segdino_deploy.benchmarks.data.samples import find_samples, read_truths
from segdino_deploy.engines.build.contract import RunImage
from segdino_deploy.engines.calibration.images import evenly_spread
from segdino_deploy.engines.precision.budget.options import HeldOutOptions
from segdino_deploy.engines.precision.budget.record import Loss
from segdino_deploy.errors import InputError
from segdino_deploy.evidence import masks_from_outputs
from segdino_deploy.manifest import HeadCard, ModelCard
from segdino_deploy.segment import load_input

# Evidence is counted in pixels, not in images: a hundredth of a percent of them must be a good hundred.
PIXELS = 2**23  # that plans are measured on: 128 images of 256x256
SENSITIVITY_PIXELS = 2**20  # of them, that single groups are measured on
Mask = NDArray[np.uint8]
Masks = dict[str, list[Mask]]  # by head


@dataclass(frozen=True)
class HeldOut:
    """Images in memory at the model's size, uint8 `[H, W, 3]`, with the answers of the fp32 model."""

    card: ModelCard
    images: list[NDArray[np.uint8]]
    head: HeadCard  # whose masks the truth is of
    truths: list[Mask]  # uint8 `[H, W]`; empty where there are no masks
    sha256: list[str]  # of the image files
    reference: Masks = field(default_factory=dict)  # of the fp32 model

    @property
    def drop_unit(self) -> str:
        return "Dice points" if self.has_truth else "% of pixels changed"

    @property
    def has_truth(self) -> bool:
        return bool(self.truths)

    def few(self) -> HeldOut:
        """The part that single groups are measured on."""
        index = evenly_spread(len(self.images), _images_of(SENSITIVITY_PIXELS, self.card))
        return HeldOut(
            self.card,
            [self.images[i] for i in index],
            self.head,
            [self.truths[i] for i in index] if self.truths else [],
            [self.sha256[i] for i in index],
            {head: [masks[i] for i in index] for head, masks in self.reference.items()},
        )

    def masks(self, run: RunImage) -> Masks:
        """A model's masks of all images."""
        found: Masks = {head.name: [] for head in self.card.heads}
        for image in self.images:
            batch = np.repeat(image[None], self.card.batch.min, axis=0)
            for head, mask in masks_from_outputs(run(batch), self.card.thresholds).items():
                found[head].append(mask[0])
        return found

    def loss(self, run: RunImage) -> Loss:
        """What a model loses."""
        masks = self.masks(run)
        changed = {head: _changed(masks[head], self.reference[head]) for head in masks}
        worst = max(changed, key=lambda head: changed[head][0])
        dice = _dice(masks[self.head.name], self) if self.truths else None
        lost = None if dice is None else 100 * (_dice(self.reference[self.head.name], self) - dice)
        return Loss(
            changed_percent=changed[worst][0], changed_in_band_percent=changed[worst][1], dice=dice, dice_points=lost
        )


def read_held_out(card: ModelCard, options: HeldOutOptions) -> HeldOut:
    """Evenly spread images of at most `PIXELS`; no reference yet. InputError for data that does not fit.

    Masks that are asked about (their folder, foreground, head) must be there.
    """
    samples = find_samples(options.data, options.image_dir, options.mask_dir)
    samples = [samples[i] for i in evenly_spread(len(samples), _images_of(PIXELS, card))]
    has_masks = samples[0].mask is not None
    if not has_masks and (options.foreground or options.head or options.mask_dir != HeldOutOptions.mask_dir):
        raise InputError(f"{options.data}: has no masks in {options.mask_dir}/; name their folder with --mask-dir")
    head = choose_head(card, options.head, has_masks)
    truths = read_truths(samples, card.input_size, head.num_classes, options.foreground) if has_masks else []
    images = [load_input(sample.image, card) for sample in samples]
    return HeldOut(card, images, head, truths, [sha256_of(sample.image) for sample in samples])


def _changed(masks: Sequence[Mask], reference: Sequence[Mask]) -> tuple[float, float]:
    """Percent of all pixels, and of those in the boundary band, whose class changed."""
    changed = [mask != expected for mask, expected in zip(masks, reference, strict=True)]
    bands = [boundary_band(expected) for expected in reference]
    in_band = sum(int((c & b).sum()) for c, b in zip(changed, bands, strict=True))
    band = sum(int(b.sum()) for b in bands)
    return 100 * float(np.mean(changed)), 100 * in_band / band if band else 0.0


def _dice(masks: Sequence[Mask], held_out: HeldOut) -> float:
    return score(masks, held_out.truths, held_out.head.class_names).dice


def _images_of(pixels: int, card: ModelCard) -> int:
    """How many images of the model's size have so many pixels; two at least."""
    return max(2, pixels // (card.input_size[0] * card.input_size[1]))
