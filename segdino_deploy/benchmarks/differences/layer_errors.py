"""Two models with the same inner values, compared value by value; and which layer errs most by itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from segdino_deploy.benchmarks.differences.layer_graph import Layer, Parts, find_layers
from segdino_deploy.benchmarks.differences.layer_rounding import in_float32
from segdino_deploy.benchmarks.result import LayerCosine
from segdino_deploy.engines.run.onnxruntime import open_session, session_options
from segdino_deploy.errors import CheckFailed, InputError
from segdino_deploy.export.graph import INPUT
from segdino_deploy.progress import OnCount, ignore

if TYPE_CHECKING:
    import onnxruntime as ort

LIMIT_BYTES = 256 * 2**20  # of the values that are held at a time
HELD = 6  # of the largest size, about: what a layer reads and what it makes, in up to three versions
PIECE = 2**20  # numbers that are widened to float64 at a time
SMALL = 2**16  # numbers in a value: threads for fewer take longer to start than they save

Array = NDArray[Any]


@dataclass(frozen=True)
class Compared:
    layers: list[LayerCosine]  # in graph order
    own_errors: dict[str, float]  # by the layer's name
    departs_most: str
    not_found: list[str]  # layers of the reference that the typed model has not


def compare_models(
    reference: onnx.ModelProto,
    typed: onnx.ModelProto,
    images: NDArray[np.uint8],
    batch: int = 1,
    on_count: OnCount = ignore,
    limit_bytes: int = LIMIT_BYTES,
) -> Compared:
    """Both models on `images` (uint8 `[N, H, W, 3]`, `batch` at a time). Values are the same where their names are.

    `departs_most` is the layer with the largest error of its own: |f'(x) - f(x)| / |f(x)|, with x the reference's
    values of what the layer reads, f the layer in the reference and f' in the typed model. What a layer is handed and
    amplifies is not its own, and a residual addition has none: it only hands on what its operands bring, however much
    of them cancels. Empty where no layer errs.

    Layers whose reference is zero on all images are left out: nothing to be relative to. Each layer runs by itself,
    without ONNX Runtime's fusions (they would drop roundings, or round what the file does not) and with 16-bit values
    as `in_float32` says; only values that later layers read are held, of as many images as fit into `limit_bytes`, but
    of one batch at least. Sums are float64.
    Raises InputError (no images, no common value), CheckFailed (a value is NaN or infinite).
    """
    if not len(images):
        raise InputError("no images to compare layers on")
    typed = in_float32(typed)
    made = {name for node in typed.graph.node for name in node.output}
    all_layers = find_layers(reference)
    layers = [layer for layer in all_layers if layer.value in made]
    if not layers:
        raise InputError("the two models have no value in common")
    walk = _Walk(reference, typed, layers)
    batches = [_Batch(images[start : start + batch], batch) for start in range(0, len(images), batch)]
    together = _batches_together(layers, batch, limit_bytes)
    done = 0
    for start in range(0, len(batches), together):
        some = batches[start : start + together]
        for _ in walk.layers_of(some):
            done += len(some)
            on_count(done, len(batches) * len(layers))
    return _summary(layers, walk.sums, [layer.name for layer in all_layers if layer.value not in made])


def _batches_together(layers: Sequence[Layer], batch: int, limit_bytes: int) -> int:
    """How many batches go through a layer while it is open."""
    if not all(layer.size for layer in layers):
        return 1
    return max(1, limit_bytes // (HELD * 4 * batch * max(layer.size for layer in layers)))


def _summary(layers: Sequence[Layer], sums: Mapping[str, _Sums], not_found: list[str]) -> Compared:
    kept = [(layer, sums[layer.value]) for layer in layers if sums[layer.value].r]
    entries = [
        LayerCosine(
            name=layer.name,
            operator=layer.operator,
            cosine=s.cosine,
            relative_error=s.relative_error,
            own_error=s.own_error,
        )
        for layer, s in kept
    ]
    own = {layer.name: s.own_error for layer, s in kept}
    worst = max(own, key=own.__getitem__, default="")
    return Compared(entries, own, worst if own.get(worst) else "", not_found)


class _Batch:
    """Some images on their way through both models: the values that are still needed. A short batch is filled up."""

    def __init__(self, images: NDArray[np.uint8], batch: int) -> None:
        missing = batch - len(images)
        full = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)]) if missing else images
        self._batch, self._images = batch, len(images)
        self.reference: dict[str, Array] = {INPUT: np.ascontiguousarray(full)}
        self.typed = dict(self.reference)

    def real(self, array: Array) -> Array:
        """Without what filled it up."""
        return array[: self._images] if array.ndim and array.shape[0] == self._batch else array


class _Walk:
    """Both models, layer after layer."""

    def __init__(self, reference: onnx.ModelProto, typed: onnx.ModelProto, layers: Sequence[Layer]) -> None:
        cuts = [layer.value for layer in layers]
        self._layers = layers
        self._reference, self._typed = Parts(reference, cuts), Parts(typed, cuts)
        self._last_read: dict[str, str] = {}  # value -> the last layer that reads it
        for value in cuts:
            self._last_read[value] = value
            self._last_read |= dict.fromkeys([*self._reference.reads(value), *self._typed.reads(value)], value)
        self.sums = {value: _Sums() for value in cuts}

    def layers_of(self, batches: Sequence[_Batch]) -> Iterator[Layer]:
        """Adds `batches` to the sums, one layer at a time."""
        for layer in self._layers:
            threads = 1 if 0 < layer.size < SMALL else None
            reference, typed = (_Part(parts, layer.value, threads) for parts in (self._reference, self._typed))
            finished = [name for name, value in self._last_read.items() if value == layer.value]
            for batch in batches:
                batch.reference[layer.value] = expected = reference.run(batch.reference)
                own = typed.run(batch.reference)
                batch.typed[layer.value] = found = typed.run(batch.typed)
                _check(layer, expected, found, own)
                self.sums[layer.value].add(*map(batch.real, (expected, found, own)))
                for name in finished:
                    batch.reference.pop(name, None)
                    batch.typed.pop(name, None)
            yield layer


class _Part:
    """One layer of one model, opened."""

    def __init__(self, parts: Parts, value: str, threads: int | None) -> None:
        import onnxruntime as ort

        options = session_options(threads)
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._value, self._reads = value, parts.reads(value)
        self._session: ort.InferenceSession = open_session(parts.model(value).SerializeToString(), options=options)

    def run(self, values: Mapping[str, Array]) -> Array:
        result: Array = self._session.run([self._value], {name: values[name] for name in self._reads})[0]
        return result


def _check(layer: Layer, expected: Array, *typed: Array) -> None:
    for whose, arrays in (("the fp32 model", (expected,)), ("the typed model", typed)):
        if not all(np.isfinite(array).all() for array in arrays):
            raise CheckFailed(f"{layer.name} is NaN or infinite in {whose}, the first of its layers that is")


@dataclass
class _Sums:
    """Of one layer over all images: r the reference, t the typed model, o the typed layer by itself."""

    r: float = 0.0  # squared norm
    t: float = 0.0
    rt: float = 0.0  # product of the two
    difference: float = 0.0  # squared norm of t - r
    own: float = 0.0  # of o - r

    def add(self, reference: Array, typed: Array, own: Array) -> None:
        flat = [array.reshape(-1) for array in (reference, typed, own)]
        for start in range(0, flat[0].size, PIECE):
            r, t, o = (array[start : start + PIECE].astype(np.float64) for array in flat)
            self.r += _product(r, r)
            self.t += _product(t, t)
            self.rt += _product(r, t)
            t -= r
            o -= r
            self.difference += _product(t, t)
            self.own += _product(o, o)

    @property
    def cosine(self) -> float:
        """0 where the typed model's value is zero everywhere: it has no direction."""
        return min(1.0, self.rt / math.sqrt(self.r * self.t)) if self.t else 0.0

    @property
    def relative_error(self) -> float:
        return math.sqrt(self.difference / self.r)

    @property
    def own_error(self) -> float:
        return math.sqrt(self.own / self.r)


def _product(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Inner product. Not by BLAS, whose threads cost more than they bring for so little work."""
    return float(np.einsum("i,i->", a, b))
