"""The one contract of all runners: a uint8 image batch in, named arrays out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.errors import InputError, SegdinoDeployError, one_line
from segdino_deploy.export.graph import INPUT
from segdino_deploy.manifest import ModelCard, Precision

Array = NDArray[np.generic]


class Runner(ABC):
    """Runs one engine. A context manager; `close` may be called more than once.

    Attributes: `backend`, `precision`, `device` (in words), `card` (the model's card), `input_size` (H, W).
    """

    backend: str
    precision: Precision
    device: str

    def __init__(self, card: ModelCard) -> None:
        self.card = card

    @property
    def input_size(self) -> tuple[int, int]:
        return self.card.input_size

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """`{"image": uint8 [N, H, W, 3]}` to the model's outputs: `mask` uint8 `[N, H, W]`, `probability` and `logits`
        float32 `[N, C, H, W]`, as chosen at export; of named heads `polyp.mask` and so on.

        Raises InputError for a wrong name, type, shape or batch; the runner stays usable.
        """
        image = check_image(inputs, self.card)
        try:
            return self._run(image)
        except SegdinoDeployError:
            raise
        except Exception as error:  # the backends' exceptions share no base
            raise SegdinoDeployError(f"{self.backend} {self.precision} engine failed: {one_line(error)}") from error

    @abstractmethod
    def _run(self, image_nhwc: NDArray[np.uint8]) -> dict[str, Array]: ...

    def close(self) -> None:  # noqa: B027  (most backends free their memory with the last reference)
        """Releases the engine."""

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_image(inputs: Mapping[str, Array], card: ModelCard) -> NDArray[np.uint8]:
    """The image batch, contiguous, or InputError that says what was expected and what came."""
    if set(inputs) != {INPUT}:
        raise InputError(f"inputs are {sorted(inputs)}: exactly one, named {INPUT!r}, is expected")
    image = inputs[INPUT]
    height, width = card.input_size
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        found = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"image is {found}: a numpy array of uint8 is expected")
    if image.ndim != 4 or image.shape[1:] != (height, width, 3):
        raise InputError(f"image has shape {list(image.shape)}: [N, {height}, {width}, 3] is expected")
    batch = card.batch
    if not batch.min <= image.shape[0] <= batch.max:
        takes = str(batch.min) if batch.is_fixed else f"{batch.min} to {batch.max}"
        raise InputError(f"image holds a batch of {image.shape[0]}: this model takes {takes}")
    contiguous: NDArray[np.uint8] = np.ascontiguousarray(image)
    return contiguous


def run_padded(runner: Runner, images: NDArray[np.uint8]) -> dict[str, Array]:
    """Runs any number of images `[M, H, W, 3]` in batches the model takes; a short batch is filled up and cut again."""
    low, high = runner.card.batch.min, runner.card.batch.max
    pieces: list[dict[str, Array]] = []
    for start in range(0, len(images), high):
        batch = images[start : start + high]
        missing = max(0, low - len(batch))
        padded = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)]) if missing else batch
        outputs = runner.run({INPUT: padded})
        pieces.append({name: array[: len(batch)] for name, array in outputs.items()})
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
