"""What the calibration images cover: sizes, intensities and the classes that the fp32 model sees on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.engines.calibration.images import Survey
from segdino_deploy.manifest import HeadCard, ModelCard, Record

RARE_SHARE = 1e-4  # a class on fewer of the pixels has not shaped the ranges
NARROW_SPAN = 64  # of 255
LISTED = 8  # how many sizes or classes one line lists


class Coverage(Record):
    """What an int8 model was calibrated on."""

    images: int
    unreadable: int  # left out of `images`
    sizes: dict[str, int]  # "HxW" in pixels -> images
    intensity_range: tuple[int, int]  # 1st and 99th percentile of the 8-bit values of all images
    classes: dict[str, float]  # class, or `head.class` where heads are several -> share of the pixels in fp32's masks


class ClassCounter:
    """Counts the pixels of every class in the masks of a model."""

    def __init__(self, card: ModelCard) -> None:
        self._names = {head.name: _mask_classes(head) for head in card.heads}
        self._pixels = {head: np.zeros(len(names), np.int64) for head, names in self._names.items()}

    def update(self, masks_by_head: Mapping[str, NDArray[np.uint8]]) -> None:
        """Masks uint8 `[N, H, W]` of class indices, by head."""
        for head, mask in masks_by_head.items():
            self._pixels[head] += np.bincount(mask.ravel(), minlength=len(self._names[head]))

    def shares(self) -> dict[str, float]:
        """Share of a head's pixels, 0 to 1, by class; by `head.class` where heads are several. 0 before any mask."""
        several = len(self._names) > 1
        return {
            f"{head}.{name}" if several else name: float(pixels / max(1, self._pixels[head].sum()))
            for head, names in self._names.items()
            for name, pixels in zip(names, self._pixels[head], strict=True)
        }


def coverage_of(survey: Survey, classes: Mapping[str, float]) -> Coverage:
    """The record of a survey with readable images and of `ClassCounter.shares`."""
    return Coverage(
        images=len(survey.readable),
        unreadable=len(survey.unreadable),
        sizes=survey.sizes,
        intensity_range=(_percentile(survey.intensity, 1), _percentile(survey.intensity, 99)),
        classes=dict(classes),
    )


def describe(coverage: Coverage) -> str:
    """One line for people."""
    low, high = coverage.intensity_range
    sizes = sorted(coverage.sizes.items(), key=lambda item: -item[1])
    seen = [f"{name} {_percent(share)}" for name, share in coverage.classes.items() if share > 0]
    parts = [
        f"{coverage.images} image{'s' if coverage.images != 1 else ''} "
        f"({_first([f'{size}: {count}' for size, count in sizes])})",
        *([f"{coverage.unreadable} unreadable left out"] if coverage.unreadable else []),
        f"intensities {low} to {high}",
        f"classes seen: {_first(seen) or 'none'}",
    ]
    return ", ".join(parts)


def warnings(coverage: Coverage) -> list[str]:
    """One line for everything that the images hardly show."""
    low, high = coverage.intensity_range
    found = []
    for name, share in coverage.classes.items():
        if share < RARE_SHARE:
            seen = f"was seen on less than {RARE_SHARE:.2%} of the pixels" if share else "was never seen"
            found.append(
                f"the class {name} {seen} by the fp32 model on the calibration images: add images that show it"
            )
    if high - low < NARROW_SPAN:
        found.append(
            f"most of the intensity range was never seen (values lie between {low} and {high}): "
            "check that the images are prepared as for training, or add brighter or darker ones"
        )
    return found


def _mask_classes(head: HeadCard) -> list[str]:
    """Name of each value of a head's mask."""
    return ["background", *head.class_names] if head.num_classes == 1 else list(head.class_names)


def _percentile(histogram: Sequence[int], percent: int) -> int:
    """The smallest value that at least `percent` of the counted ones do not exceed."""
    below = np.cumsum(histogram)
    return int(np.searchsorted(below * 100, below[-1] * percent))


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "under 0.1%"


def _first(items: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = len(items) - LISTED
    return ", ".join(items[:LISTED]) + (f" and {more} more" if more > 0 else "")
