"""An engine of a bundle in C++, behind the contract of all runners."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.benchmarks.latency.self_timed import SelfTimedRunner, TurnTimes
from segdino_deploy.benchmarks.native.child import Child
from segdino_deploy.benchmarks.native.program import Program
from segdino_deploy.bundle import Bundle
from segdino_deploy.engines.run.contract import Array
from segdino_deploy.manifest import output_name
from segdino_deploy.segment import StageTimes

UInt8 = NDArray[np.uint8]


class NativeRunner(SelfTimedRunner):
    """Gives the model's outputs, and masks where it was exported without: as the C++ library makes them."""

    def __init__(self, bundle: Bundle, engine: str, program: Program, name: str, threads: int | None = None) -> None:
        """`engine`: its name in the bundle; `name`: the contestant's, for messages.

        Raises what opening it in C++ does: InputError, MissingComponent (a backend that the program was built without,
        say) or SegdinoDeployError.
        """
        super().__init__(bundle.manifest.model)
        record = bundle.manifest.engines[engine]
        command = [str(program.path), str(bundle.path.absolute()), "--serve", "--engine", engine]
        self._child = Child(command + (["--threads", str(threads)] if threads else []), name)
        try:
            self._child.listen()  # its greeting
            about = self._child.listen().line
        except BaseException:
            self._child.close()
            raise
        self.process_id = self._child.pid
        self.backend = record.backend
        self.precision = record.precision
        self.device = str(about["device"])

    def _run(self, image_nhwc: UInt8) -> dict[str, Array]:
        return self._child.ask({"do": "run", "batch": len(image_nhwc)}, [image_nhwc]).arrays

    def load(self, images: Sequence[UInt8], files: Sequence[Path]) -> None:
        names = [str(path.absolute()) for path in files]
        self._child.ask({"do": "load", "batch": len(images[0]), "files": names}, _contiguous(images))

    def turn(self, round_index: int) -> TurnTimes:
        line = self._child.ask({"do": "turn", "round": round_index}).line
        file = None if line["file"] is None else StageTimes(**line["file"])
        return TurnTimes(line["engine_only_ms"], line["with_copies_ms"], file)

    def run_again(self) -> None:
        self._child.ask({"do": "again"})

    def segment(self, path: Path) -> dict[str, UInt8]:
        arrays = self._child.ask({"do": "file", "path": str(path.absolute())}).arrays
        return {head.name: np.asarray(arrays[output_name(head.name, "mask")], np.uint8) for head in self.card.heads}

    def call(self, batches: Sequence[UInt8], callers: int, seconds: float) -> list[list[tuple[float, float]]]:
        question = {"do": "throughput", "batch": len(batches[0]), "callers": callers, "seconds": seconds}
        calls = self._child.ask(question, _contiguous(batches)).line["calls"]
        return [[(began, ended) for began, ended in of_caller] for of_caller in calls]

    def close(self) -> None:
        self._child.close()


def _contiguous(arrays: Sequence[UInt8]) -> list[UInt8]:
    return [np.ascontiguousarray(array) for array in arrays]
