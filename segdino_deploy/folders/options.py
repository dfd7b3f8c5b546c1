"""How many images at a time, and what is written of each."""

from __future__ import annotations

import os
from dataclasses import dataclass

from segdino_deploy.errors import InputError
from segdino_deploy.manifest import ModelCard


@dataclass(frozen=True)
class FolderOptions:
    """Raises InputError for what cannot be."""

    workers: int | None = None  # threads that decode and encode; None: one per processor, two at least
    batch_size: int | None = None  # images in one call of the engine; None: what the model was exported for
    overlay: bool = True  # whether overlays are written beside the masks

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise InputError(f"--workers: {self.workers}; at least 1")

    @property
    def num_workers(self) -> int:
        return self.workers or max(2, len(os.sched_getaffinity(0)))

    def batch_for(self, card: ModelCard) -> int:
        """Images in one call of the engine. Raises InputError where it takes no such."""
        return batch_size_for(card, self.batch_size)


def batch_size_for(card: ModelCard, asked: int | None) -> int:
    """Images, tiles or frames in one call of the engine; None: what the model was exported for.

    Raises InputError where the model takes no such batch.
    """
    size = card.batch.opt if asked is None else asked
    if not 1 <= size <= card.batch.max:
        raise InputError(f"--batch-size: {size}; this model takes 1 to {card.batch.max} images at a time")
    return size
