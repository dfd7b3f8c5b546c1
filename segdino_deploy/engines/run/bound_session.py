"""What `TensorRtRunner.bind` runs: a session whose image lies on the GPU and whose results stay there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.engines.run.contract import Array
from segdino_deploy.engines.tensorrt.session import Session
from segdino_deploy.export.graph import INPUT


class BoundSession(Session):
    """A session of one image batch, with a context and buffers of its own: nobody else's call touches its graph."""

    def put(self, image_nhwc: NDArray[np.uint8]) -> None:
        """Copies uint8 `[N, H, W, 3]` to the GPU, and runs once: the next run can be captured as a graph."""
        self._images = len(image_nhwc)
        self.run(image_nhwc)

    def run_again(self) -> None:
        """The engine alone, waited for."""
        with self._memory.active(), self._recovering():
            self._generation += 1
            self._enqueue(self._images, self._on_device[INPUT])
            self._finish()

    def read(self) -> dict[str, Array]:
        """Copies of the last run's results."""
        with self._memory.active(), self._recovering():
            return self._read_outputs(self._images)
