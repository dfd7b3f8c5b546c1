"""A model that needs no engine, folders of small images, and a run over them in a process of its own:
`python -m tests.folders.toy IMAGES OUT [resume]`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segdino_deploy.engines.run.contract import Runner
from segdino_deploy.folders.jobs import plan_jobs
from segdino_deploy.folders.options import FolderOptions
from segdino_deploy.folders.predict import predict_folder
from segdino_deploy.folders.recording import Summary
from tests.engines.run.model import make_card

BATCH = 4
IDENTITY = "0" * 64


class Colours(Runner):
    """The brightest colour is the class; `pause_s` makes it as slow as an engine. Counts its batches."""

    backend, precision, device = "test", "fp32", "CPU"

    def __init__(self, pause_s: float = 0.0) -> None:
        super().__init__(make_card(low=1, high=BATCH).model_copy(deep=True))
        self.card = self.card.model_copy(
            update={"batch": self.card.batch.model_copy(update={"opt": BATCH})}  # as exported with 1:4:4
        )
        self.batches: list[int] = []
        self._pause_s = pause_s

    def _run(self, image_nhwc: NDArray[np.uint8]) -> dict[str, NDArray[np.generic]]:
        self.batches.append(len(image_nhwc))
        time.sleep(self._pause_s)
        return {"mask": image_nhwc.argmax(axis=-1).astype(np.uint8)}


def make_folder(folder: Path, count: int, size_wh: tuple[int, int] = (40, 24), seed: int = 0) -> Path:
    """`count` PNG images in two sub-folders."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        path = folder / f"part{index % 2}" / f"{index:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (3, 5, 3), dtype=np.uint8))
        coarse.resize(size_wh, Image.Resampling.BICUBIC).save(path)
    return folder


def predict(
    images: Path,
    output: Path,
    runner: Runner | None = None,
    resume: bool = False,
    table: Path | None = None,
    options: FolderOptions = FolderOptions(workers=2),
) -> Summary:
    return predict_folder(
        runner or Colours(), plan_jobs([images], output), options, IDENTITY, table=table, resume=resume
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the journal."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".predict.jsonl"
    }


def main() -> None:
    images, output = Path(sys.argv[1]), Path(sys.argv[2])
    asked = sys.argv[3:]
    predict(images, output, Colours(0.02), resume="resume" in asked)


if __name__ == "__main__":
    main()
