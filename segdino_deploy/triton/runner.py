"""A model on a server as a `Runner`: whatever runs engines runs it, too."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segdino_deploy.bundle import Bundle
from segdino_deploy.engines.run import bundle_of
from segdino_deploy.engines.run.contract import Array, Runner, check_image, run_padded
from segdino_deploy.engines.tensorrt.tensors import Tensor, input_tensor, output_tensors
from segdino_deploy.errors import InputError, SegdinoDeployError
from segdino_deploy.export.graph import INPUT
from segdino_deploy.manifest import BatchRange, ModelCard
from segdino_deploy.triton.connection import Connection, ServedModel, ServedTensor, connect
from segdino_deploy.triton.naming import model_name
from segdino_deploy.triton.options import ClientOptions
from segdino_deploy.triton.record import ServedVersion, from_parameters

log = logging.getLogger(__name__)
DATA_TYPES = {"uint8": "UINT8", "float32": "FP32"}


class TritonRunner(Runner):
    """Runs an engine that a server has, for any number of threads. What it computes is the bundle's: the server's
    engine has the same sha256, its tensors the same names, types and shapes.

    `device` names server, model and version. A version that the server does not have any more is an error, never
    replaced by another one: open the runner again. What the number stands for was checked when it was opened: a Triton
    repository that is deleted and written anew begins with 1 again.
    """

    backend = "triton"

    def __init__(self, path: Path, options: ClientOptions) -> None:
        """`path`: a bundle, or the engine file in it that the server must have.

        Raises InputError (no bundle, no such model, another engine than the bundle's), MissingComponent (tritonclient
        is not installed), SegdinoDeployError (no server, no answer in time, an answer that is not the v2 protocol).
        """
        bundle, only = bundle_of(path) if path.is_file() else (Bundle.open(path), None)
        super().__init__(bundle.manifest.model)
        model = options.model or model_name(bundle.path)
        self._connection = connect(options)
        try:
            self._model = _find(self._connection, model, options.version)
            check_engine(self._model, bundle, only)
            check_tensors(self._model, self.card)
        except BaseException:
            self._connection.close()
            raise
        served = self._model.served
        self.precision = served.precision
        self.device = f"{self._connection.address.text} ({model} version {self._model.version}, {served.engine})"
        self._is_closed = False
        self._outputs = {tensor.name: tensor for tensor in output_tensors(self.card)}
        if served.may_compute_in:
            log.warning(
                "%s: was measured in %s; the server computes in %s where its CPU has that",
                self.device,
                served.inference_precision or "f32",
                served.may_compute_in,
            )

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """As every runner, and more images than the model takes at once are sent in batches that it takes."""
        image = inputs.get(INPUT)
        batch = self.card.batch
        if not isinstance(image, np.ndarray) or image.ndim != 4 or len(image) <= batch.max:
            return super().run(inputs)
        any_number = BatchRange(min=batch.min, opt=batch.opt, max=len(image))
        return run_padded(self, check_image(inputs, self.card.model_copy(update={"batch": any_number})))

    def _run(self, image_nhwc: NDArray[np.uint8]) -> dict[str, Array]:
        if self._is_closed:
            raise SegdinoDeployError("this engine was closed: open it again")
        model = self._model
        answer = self._connection.infer(model.name, model.version, image_nhwc, list(self._outputs))
        return {
            name: _checked(answer[name], tensor, len(image_nhwc), self.device) for name, tensor in self._outputs.items()
        }

    def close(self) -> None:
        self._is_closed = True
        self._connection.close()


@dataclass(frozen=True)
class FoundModel:
    """One version of a model on a server."""

    where: str  # for messages: the server and the model
    name: str
    version: int
    served: ServedVersion  # what its configuration says
    described: ServedModel  # what its metadata says


def _find(connection: Connection, name: str, version: int | None) -> FoundModel:
    """The asked version, or the newest. InputError where it is not there or says nothing about itself."""
    where = f"{connection.address.text}: model {name}"
    described = connection.describe(name, version)
    ready = described.versions
    newest = version if version is not None else max(ready, default=None)
    if newest is None:
        raise InputError(f"{where}: no version of it is ready; see the server's log")
    records = from_parameters(connection.parameters(name), where)
    if newest not in records:
        raise InputError(
            f"{where} version {newest}: says nothing about its engine; serve what segdino-deploy triton writes"
        )
    return FoundModel(where, name, newest, records[newest], described)


def check_engine(model: FoundModel, bundle: Bundle, only: str | None) -> None:
    """InputError where the server's engine is not the bundle's, with the sha256 of both, of every file."""
    files = bundle.manifest.files
    hashes = {
        name: [files[file].sha256 for file in (engine.file, *engine.companions)]
        for name, engine in bundle.manifest.engines.items()
        if only in (None, name)
    }
    served = [file.sha256 for file in model.served.files.values()]
    if served in hashes.values():
        return
    near = {name: sha256 for name, sha256 in hashes.items() if name == model.served.engine} or hashes
    has = ", ".join(f"{name} {' '.join(sha256)}" for name, sha256 in near.items()) or "no engine"
    raise InputError(
        f"{model.where} version {model.version}: is {model.served.engine} with sha256 {' '.join(served)}, but "
        f"{bundle.path} has {has}; serve this bundle's engine (segdino-deploy triton), or name the bundle it is from"
    )


def check_tensors(model: FoundModel, card: ModelCard) -> None:
    """InputError where names, types or shapes are not the card's, with both."""
    first = card.batch.max if card.batch.is_fixed else -1
    described = model.described
    for kind, found, tensors in (
        ("input", described.inputs, [input_tensor(card)]),
        ("output", described.outputs, output_tensors(card)),
    ):
        wanted = {t.name: ServedTensor(t.name, DATA_TYPES[t.dtype.name], t.shape_of(first)) for t in tensors}
        has = {tensor.name: tensor for tensor in found}
        if has != wanted:
            raise InputError(
                f"{model.where} version {model.version}: its {kind}s are {_in_words(has.values())}; by the bundle they "
                f"are {_in_words(wanted.values())}"
            )


def _in_words(tensors: Iterable[ServedTensor]) -> str:
    return ", ".join(f"{tensor.name} {tensor.datatype} {list(tensor.shape)}" for tensor in tensors) or "none"


def _checked(array: Array | None, tensor: Tensor, batch: int, where: str) -> Array:
    """A copy of one output, which the caller may change. SegdinoDeployError where it is not what the card says."""
    wanted = tensor.shape_of(batch)
    if array is None:
        raise SegdinoDeployError(f"{where}: the answer has no {tensor.name}: is another program serving there?")
    if array.dtype != tensor.dtype or array.shape != wanted:
        raise SegdinoDeployError(
            f"{where}: {tensor.name} came as {array.dtype} {list(array.shape)}; {tensor.dtype} {list(wanted)} is "
            "expected: is another program serving there?"
        )
    return array.copy()
