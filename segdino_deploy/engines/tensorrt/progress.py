"""Build progress: TensorRT's nested phases as one count that only grows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from segdino_deploy.engines.tensorrt.flavours import TensorRtModule
from segdino_deploy.progress import OnStage

if TYPE_CHECKING:
    import tensorrt as trt


class Phases:
    """Where a build is, from the phases that were started: `share` grows from 0 to 1.

    A phase is one step of the phase it was started in, so its own steps are parts of that one.
    """

    def __init__(self) -> None:
        self._parents: dict[str, str | None] = {}
        self._steps: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self.share = 0.0

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        self._parents[phase], self._steps[phase], self._done[phase] = parent, max(1, steps), 0

    def step(self, phase: str, index: int) -> None:
        if phase in self._done:
            self._done[phase] = max(self._done[phase], index + 1)
            self.share = max(self.share, self._share())

    def finish(self, phase: str) -> None:
        for table in (self._parents, self._steps, self._done):
            table.pop(phase, None)

    def _share(self) -> float:
        """Of the outermost phase: its steps that are done, and the shares of those that run inside it."""
        roots = [phase for phase, parent in self._parents.items() if parent not in self._parents]
        return self._of(roots[0]) if roots else self.share

    def _of(self, phase: str) -> float:
        inside = [child for child, parent in self._parents.items() if parent == phase]
        running = max((self._of(child) for child in inside), default=0.0)
        return min(1.0, (self._done[phase] + running) / self._steps[phase])


STEPS = 100


@contextmanager
def monitored(api: TensorRtModule, stage: str, on_count: OnStage) -> Iterator[trt.IProgressMonitor]:
    """A monitor that reports `stage` in hundredths, for one build inside the block.

    An exception out of `on_count` (or Ctrl-C there) cannot pass through TensorRT: it cancels the build, and is raised
    at the end of the block. TensorRT may call from several threads: `on_count` is called by one at a time.
    """
    phases, lock, kept = Phases(), threading.RLock(), list[BaseException]()

    @contextmanager
    def guarded() -> Iterator[None]:
        with lock:
            try:
                yield
            except BaseException as error:
                kept.append(error)

    class Monitor(api.IProgressMonitor):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            api.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with guarded():
                phases.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            with guarded():
                phases.step(phase_name, step)
                if not kept:
                    on_count(stage, min(STEPS - 1, int(STEPS * phases.share)), STEPS)
            return not kept  # whether to go on

        def phase_finish(self, phase_name: str) -> None:
            with guarded():
                phases.finish(phase_name)

    yield Monitor()
    if kept:
        raise kept[0]
