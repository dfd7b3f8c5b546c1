"""A model repository loaded by the rules of Triton's core and of its backends, and run by the real libraries.

Written from what Triton's documentation and sources say of files, configurations and requests, independently of the
code under test: what a real server would refuse to load or to run is refused here, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import triton_to_np_dtype

Array = NDArray[np.generic]
MODEL_FILES = {"onnxruntime": "model.onnx", "openvino": "model.xml", "tensorrt": "model.plan"}
NOT_VERSIONS = ("warmup", "initial_state", "configs")
KINDS = model_config_pb2.ModelInstanceGroup


class Refused(Exception):
    """What the server answers with. `not_found`: there is no such model or version."""

    def __init__(self, message: str, *, not_found: bool = False) -> None:
        super().__init__(message)
        self.not_found = not_found


@dataclass(frozen=True)
class Opened:
    """A model file in its library: the shapes that it says itself, -1 for any length, and how it runs."""

    shapes: dict[str, list[int]]
    run: Callable[[dict[str, Array]], dict[str, Array]]


def datatype(entry: Any) -> str:
    """`TYPE_UINT8` as the protocol spells it."""
    return str(model_config_pb2.DataType.Name(entry.data_type)).removeprefix("TYPE_")


class Model:
    """One model of the repository, loaded and warmed up, or Refused."""

    def __init__(self, folder: Path) -> None:
        self.config = text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
        self.name = folder.name
        self._validate(folder)
        numbers = self._versions_to_load(folder)
        self.versions = {number: self._load(folder / str(number)) for number in numbers}
        self.batches: list[int] = []  # of the requests that were run
        self.warmed_up = [self._warm_up(folder, number) for number in numbers]

    @property
    def files(self) -> set[str]:
        """Every file of the model's folder that the server needs."""
        model = MODEL_FILES[self.config.backend]
        names = {"model.xml": ["model.xml", "model.bin"]}.get(model, [model])
        of_versions = {f"{number}/{name}" for number in self.versions for name in names}
        labels = {output.label_filename for output in self.config.output if output.label_filename}
        warmup = {f"warmup/{data.input_data_file}" for s in self.config.model_warmup for data in s.inputs.values()}
        return {"config.pbtxt", *of_versions, *labels, *warmup}

    @property
    def platform(self) -> str:
        return {"onnxruntime": "onnxruntime_onnx", "tensorrt": "tensorrt_plan"}.get(self.config.backend, "")

    @property
    def parameters(self) -> dict[str, str]:
        return {key: value.string_value for key, value in self.config.parameters.items()}

    def shape(self, entry: Any) -> list[int]:
        """Of an input or output as clients see it, the batch included."""
        return [*([-1] if self.config.max_batch_size > 0 else []), *entry.dims]

    def infer(self, version: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """What the core checks of a request, then the model."""
        config = self.config
        number = int(version) if version else max(self.versions)
        if number not in self.versions:
            raise Refused(f"Request for unknown model: '{self.name}' version {number} is not found", not_found=True)
        if set(inputs) != {entry.name for entry in config.input}:
            raise Refused(f"expected {len(config.input)} inputs but got {len(inputs)} inputs for model '{self.name}'")
        for entry in config.input:
            array = inputs[entry.name]
            if array.dtype != triton_to_np_dtype(datatype(entry)):
                raise Refused(f"inference input '{entry.name}' data-type is {array.dtype}, expected {datatype(entry)}")
            if not fits(list(array.shape), self.shape(entry)):
                raise Refused(
                    f"unexpected shape for input '{entry.name}' for model '{self.name}'. Expected "
                    f"{self.shape(entry)}, got {list(array.shape)}"
                )
            if config.max_batch_size and len(array) > config.max_batch_size:
                raise Refused(f"inference request batch-size must be <= {config.max_batch_size} for '{self.name}'")
            self.batches.append(len(array))
        return self.versions[number].run(dict(inputs))

    def _validate(self, folder: Path) -> None:
        config = self.config
        if config.name != folder.name:
            raise Refused(f"unexpected directory name '{folder.name}' for model '{config.name}'")
        if config.backend not in MODEL_FILES:
            raise Refused(f"unable to find backend library for backend '{config.backend}'")
        entries = [*config.input, *config.output]
        if not config.input or not config.output:
            raise Refused("must specify inputs and outputs")
        for entry in entries:
            if not entry.dims or any(dim < 1 and dim != -1 for dim in entry.dims):
                raise Refused(f"'{entry.name}': dimension must be integer >= 1, or -1")
            if entry.data_type == model_config_pb2.TYPE_INVALID:
                raise Refused(f"'{entry.name}' must specify 'data_type'")
        for size in config.dynamic_batching.preferred_batch_size:
            if not 0 < size <= config.max_batch_size:
                raise Refused("dynamic batching preferred size must be positive and <= max batch size")
        if not config.instance_group:
            raise Refused("must specify one or more 'instance group's")
        wanted = {"openvino": KINDS.KIND_CPU, "tensorrt": KINDS.KIND_GPU}.get(config.backend)
        for group in config.instance_group:
            if group.count < 1 or (wanted is not None and group.kind != wanted):
                raise Refused(f"instance group of '{config.name}' has a kind or count that {config.backend} refuses")
        for entry in config.output:
            if entry.label_filename:
                (folder / entry.label_filename).read_text(encoding="utf-8")  # a missing file fails the load

    def _versions_to_load(self, folder: Path) -> list[int]:
        there = [
            int(entry.name)
            for entry in folder.iterdir()
            if entry.is_dir() and entry.name not in NOT_VERSIONS and entry.name.isdecimal()
        ]
        policy = self.config.version_policy
        if policy.WhichOneof("policy_choice") == "specific":
            chosen = [number for number in policy.specific.versions if number in there]
        elif policy.WhichOneof("policy_choice") == "all":
            chosen = sorted(there)
        else:
            chosen = sorted(there)[-(policy.latest.num_versions or 1) :]
        if not chosen:
            raise Refused(f"at least one version must be available under the version policy of model '{self.name}'")
        return chosen

    def _load(self, folder: Path) -> Opened:
        path = folder / (self.config.default_model_filename or MODEL_FILES[self.config.backend])
        if not path.is_file():
            raise Refused(f"unable to find '{path}' for model '{self.name}'")
        opened = OPENERS[self.config.backend](path, self.parameters)
        for entry in [*self.config.input, *self.config.output]:
            if entry.name not in opened.shapes:
                raise Refused(f"unexpected inference tensor '{entry.name}', allowed are: {', '.join(opened.shapes)}")
            if opened.shapes[entry.name] != self.shape(entry):
                raise Refused(
                    f"model '{self.name}', tensor '{entry.name}': the model expects {opened.shapes[entry.name]} but "
                    f"the model configuration specifies {self.shape(entry)}"
                )
        return opened

    def _warm_up(self, folder: Path, number: int) -> dict[str, Array]:
        """The answer to the (one) warm-up request, by output."""
        (setting,) = self.config.model_warmup
        images = {}
        for name, data in setting.inputs.items():
            content = (folder / "warmup" / data.input_data_file).read_bytes()
            size = math.prod(data.dims)
            if len(content) < size or -1 in data.dims:
                raise Refused(f"warmup setting expects {size} bytes, but the data provided has {len(content)} bytes")
            image = np.frombuffer(content[:size], triton_to_np_dtype(datatype(data))).reshape(list(data.dims))
            images[name] = np.stack([image] * setting.batch_size) if self.config.max_batch_size else image
        return self.infer(str(number), images)


def fits(shape: list[int], dims: list[int]) -> bool:
    return len(shape) == len(dims) and all(d in (-1, s) for s, d in zip(shape, dims, strict=True))


def open_onnxruntime(path: Path, parameters: Mapping[str, str]) -> Opened:
    return _onnxruntime_session(path.read_bytes(), int(parameters.get("intra_op_thread_count", "0")))


@cache
def _onnxruntime_session(model: bytes, threads: int) -> Opened:
    """Kept for the next server that has the same file, for opening is what takes the time here."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    tensors = [*session.get_inputs(), *session.get_outputs()]
    shapes = {tensor.name: [d if isinstance(d, int) else -1 for d in tensor.shape] for tensor in tensors}
    names = [tensor.name for tensor in session.get_outputs()]
    return Opened(shapes, lambda inputs: dict(zip(names, session.run(names, inputs), strict=True)))


def open_openvino(path: Path, parameters: Mapping[str, str]) -> Opened:
    """Only what Triton's backend can be told: nothing else sets an inference precision."""
    import openvino as ov

    core = ov.Core()
    model = core.read_model(path)
    properties: dict[str, Any] = {}
    if parameters.get("HINT_BF16"):
        properties["INFERENCE_PRECISION_HINT"] = "bf16"
    for key in ("INFERENCE_NUM_THREADS", "NUM_STREAMS", "PERFORMANCE_HINT"):
        if key in parameters:
            properties[key] = parameters[key]
    compiled = core.compile_model(model, "CPU", properties)
    tensors = [*model.inputs, *model.outputs]
    shapes = {t.any_name: [d.get_length() if d.is_static else -1 for d in t.partial_shape] for t in tensors}

    def run(inputs: dict[str, Array]) -> dict[str, Array]:
        request = compiled.create_infer_request()
        request.infer(inputs)
        return {output.any_name: request.get_tensor(output.any_name).data.copy() for output in model.outputs}

    return Opened(shapes, run)


OPENERS: dict[str, Callable[[Path, Mapping[str, str]], Opened]] = {
    "onnxruntime": open_onnxruntime,
    "openvino": open_openvino,
}


class ModelRepository:
    """Every folder in the repository is a model, hidden ones too; one that cannot be loaded stops the server."""

    def __init__(self, path: Path) -> None:
        self.models = {folder.name: Model(folder) for folder in sorted(path.iterdir()) if folder.is_dir()}

    def model(self, name: str, version: str = "") -> Model:
        model = self.models.get(name)
        if model is None or (version and int(version) not in model.versions):
            raise Refused(f"Request for unknown model: '{name}' is not found", not_found=True)
        return model
