"""The one contract of all runners: a uint8 image batch in, named arrays out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.errors import InputError, SegdinoDeployError, one_line
from segdino_deploy.export.graph import INPUT
from segdino_deploy.manifest import ModelCard, Precision

Array = NDArray[np.generic]


class Bound:
    """An engine with one image batch in the memory that it reads: calling this runs the engine alone and waits for it.

    Nothing is copied in or out and nothing is converted; results stay where the engine puts them. For one thread at a
    time, until the runner is closed.
    """

    def __init__(self, run: Callable[[], None], read: Callable[[], dict[str, Array]], keeps: object = None) -> None:
        """`read`: copies of the last run's results. `keeps`: what must live as long as this."""
        self._run = run
        self._read = read
        self._keeps = keeps

    def __call__(self) -> None:
        self._run()

    def outputs(self) -> dict[str, Array]:
        """What the last call computed, as the runner's `run` gives it: copies in host memory. Call once before."""
        return self._read()


class Runner(ABC):
    """Runs one engine, for any number of threads. A context manager; `close` may be called more than once.

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
        with self._failing_in_one_line():
            return self._run(image)

    @abstractmethod
    def _run(self, image_nhwc: NDArray[np.uint8]) -> dict[str, Array]: ...

    def bind(self, image_nhwc: NDArray[np.uint8]) -> Bound:
        """The engine with a copy of uint8 `[N, H, W, 3]` where it reads it, beside `run` and undisturbed by it.

        What that takes is released with the runner. Raises InputError as `run` does; SegdinoDeployError where the
        backend cannot run without copies, or refuses.
        """
        image = check_image({INPUT: image_nhwc}, self.card).copy()  # whatever the caller does with theirs
        with self._failing_in_one_line():
            bound = self._bind(image)

        def run() -> None:
            with self._failing_in_one_line():
                bound()

        def read() -> dict[str, Array]:
            with self._failing_in_one_line():
                return bound.outputs()

        return Bound(run, read)

    def _bind(self, image_nhwc: NDArray[np.uint8]) -> Bound:
        """A runner without a form of its own must not pass off `run`, copies and all, as the engine alone."""
        del image_nhwc
        raise SegdinoDeployError(f"{self.backend} {self.precision} engine: this runner cannot run it without copies")

    @property
    def device_memory_mib(self) -> float | None:
        """Memory of its own device that opening and running have taken since; None: it has none, or cannot tell."""
        return None

    @contextmanager
    def _failing_in_one_line(self) -> Iterator[None]:
        try:
            yield
        except SegdinoDeployError:
            raise
        except Exception as error:  # the backends' exceptions share no base
            raise SegdinoDeployError(f"{self.backend} {self.precision} engine failed: {one_line(error)}") from error

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
