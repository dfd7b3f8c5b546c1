"""A runner without an engine: it notes what it is asked, and takes as long as a test wants."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.engines.run import Runner
from segdino_deploy.engines.run.contract import Array, Bound
from segdino_deploy.manifest import ModelCard
from tests.engines.run.model import answer


class FakeRunner(Runner):
    """Colours as classes, as `model.answer`. `log`: who was called how, in order; shared between runners by a test."""

    backend, precision, device = "fake", "fp32", "CPU"

    def __init__(self, card: ModelCard, name: str = "", log: list[str] | None = None) -> None:
        super().__init__(card)
        self.name = name
        self.log = [] if log is None else log
        self.seen: list[tuple[int, NDArray[np.uint8]]] = []  # thread and image
        self.before_run: Callable[[], None] = lambda: None
        self.alone_gives: NDArray[np.uint8] | None = None  # another mask than `run`

    def _run(self, image_nhwc: NDArray[np.uint8]) -> dict[str, Array]:
        self.log.append(f"{self.name} with copies")
        self.before_run()
        self.seen.append((threading.get_ident(), image_nhwc))
        return dict(answer(image_nhwc))

    def _bind(self, image_nhwc: NDArray[np.uint8]) -> Bound:
        def read() -> dict[str, Array]:
            outputs: dict[str, Array] = dict(answer(image_nhwc))
            return outputs if self.alone_gives is None else outputs | {"mask": self.alone_gives}

        return Bound(lambda: self.log.append(f"{self.name} alone"), read)
