"""Which images change most against the reference: a pure choice from numbers per image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from segdino_deploy.benchmarks.accuracy.summary import PerImage
from segdino_deploy.benchmarks.metrics import parse_key


def choose_worst(engine: PerImage, reference: PerImage, images: Sequence[str], count: int) -> list[int]:
    """Positions in `images` of at most `count` images that change most, the worst first.

    By the lowest agreement with the reference (of the worst head), then by the largest change of any Dice against the
    reference's own `per_image`, then by name. Images of which all pixels agree are left out.
    """
    changed = [index for index in range(len(images)) if agreement_of(engine, index) < 1]
    changed.sort(key=lambda i: (agreement_of(engine, i), -_dice_change(engine, reference, i), images[i]))
    return changed[:count]


def agreement_of(per_image: PerImage, index: int) -> float:
    """Share of the image's pixels with the reference's class, of the worst head; 1 where none was measured."""
    return min((value for _, value in _agreements(per_image, index)), default=1.0)


def worst_head(per_image: PerImage, index: int) -> str:
    """The head with the lowest agreement, empty for the one without a name; of equals the first."""
    return min(_agreements(per_image, index), key=lambda found: found[1], default=("", 1.0))[0]


def metrics_of(per_image: PerImage, index: int) -> dict[str, float | None]:
    """All metrics of one image."""
    return {key: values[index] for key, values in per_image.items()}


def _agreements(per_image: PerImage, index: int) -> Iterator[tuple[str, float]]:
    """Head and agreement."""
    for key, values in per_image.items():
        found, value = parse_key(key), values[index]
        if found.metric == "agreement" and value is not None:
            yield found.head, value


def _dice_change(engine: PerImage, reference: PerImage, index: int) -> float:
    changes = [0.0]
    for key in engine.keys() & reference.keys():
        ours, theirs = engine[key][index], reference[key][index]
        if parse_key(key).metric == "dice" and ours is not None and theirs is not None:
            changes.append(abs(ours - theirs))
    return max(changes)
