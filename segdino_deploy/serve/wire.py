"""The v2 protocol's tensors, in JSON or behind it in binary (its extension `binary_tensor_data`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, SkipValidation, StrictInt, StrictStr, ValidationError
from pydantic_core import from_json, to_json

from segdino_deploy.engines.run.contract import Array
from segdino_deploy.engines.tensorrt.tensors import output_tensors
from segdino_deploy.errors import InputError, one_line
from segdino_deploy.export.graph import INPUT
from segdino_deploy.manifest import ModelCard
from segdino_deploy.serve.refusals import TooLarge
from segdino_deploy.triton.runner import DATA_TYPES

HEADER_LENGTH = "Inference-Header-Content-Length"  # how much of a body is JSON, where binary tensors follow
# JSON takes many times its size in memory, and nothing else is done while it is read: what is large has to be binary.
MAX_JSON_IMAGES = 4  # in a request
JSON_BYTES_PER_VALUE = 8  # `255, ` and its share of brackets, with some room
JSON_BYTES_PER_BRACKET = 7  # `[0,0,0],`: a list of less costs more than it says
MAX_JSON_VALUES = 2**20  # in an answer
MAX_TENSORS = 1024  # named in a request
JSON_ALLOWANCE = 2**16  # bytes for names, shapes and parameters

Parameters = dict[str, Any]
Length = Annotated[StrictInt, Field(ge=0, lt=2**63)]  # as in the protocol; Python's own have no end


class InputTensor(BaseModel):
    """An image batch: `data` in row-major order, flat or nested; or binary, with `binary_data_size` bytes."""

    name: StrictStr
    shape: list[Length]
    datatype: StrictStr
    parameters: Parameters = {}
    data: Annotated[list[Any] | None, SkipValidation] = None  # looked through by `_flat`, which is faster


class RequestedOutput(BaseModel):
    """An output to be given, in binary where `binary_data` is true."""

    name: StrictStr
    parameters: Parameters = {}


class InferRequest(BaseModel):
    id: StrictStr = ""
    parameters: Parameters = {}
    inputs: list[InputTensor] = Field(max_length=MAX_TENSORS)
    outputs: list[RequestedOutput] = Field([], max_length=MAX_TENSORS)


def request_schema() -> dict[str, Any]:
    """Of `InferRequest`, in one piece: it stands alone where its parts could not be referred to."""
    schema = InferRequest.model_json_schema()
    parts = schema.pop("$defs")
    for name in ("inputs", "outputs"):
        schema["properties"][name]["items"] = parts[schema["properties"][name]["items"]["$ref"].rpartition("/")[2]]
    return schema


class OutputTensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    parameters: Parameters | None = None
    data: list[int | float] | None = None


class InferResponse(BaseModel):
    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


@dataclass(frozen=True)
class Inference:
    """What a request asks for."""

    id: str
    images: NDArray[np.uint8]  # [N, H, W, 3]
    outputs: dict[str, bool]  # in the order of the answer; whether each goes in binary
    timeout_seconds: float | None


def parse_request(body: bytes, header_length: str | None, card: ModelCard) -> Inference:
    """A request's body to what it asks for; `header_length`: the value of the header of that name.

    Raises InputError for whatever is not the protocol or not this model's image; TooLarge.
    """
    json_bytes = len(body) if header_length is None else _json_length(header_length, len(body))
    if header_length is not None and json_bytes == 0:
        return _bare_image(body, card)
    text = body[:json_bytes]
    _require_bearable(text, card)
    try:
        request = InferRequest.model_validate(from_json(text, allow_inf_nan=False))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"the request's JSON: {where or 'it'}: {first['msg']}") from error
    except ValueError as error:
        raise InputError(f"the request is not JSON: {one_line(error)}") from error
    if [tensor.name for tensor in request.inputs] != [INPUT]:
        raise InputError(f"exactly one input, named {INPUT!r}, is expected")
    images = _image(request.inputs[0], memoryview(body)[json_bytes:], card)
    outputs = _wanted_outputs(request, card)
    _require_short_answer(outputs, len(images), card)
    return Inference(request.id, images, outputs, _timeout_seconds(request.parameters))


def _bare_image(body: bytes, card: ModelCard) -> Inference:
    """As Triton takes it for models of one input: no JSON, one image, and all outputs in binary."""
    height, width = card.input_size
    if len(body) != height * width * 3:
        raise InputError(
            f"{HEADER_LENGTH}: 0: one image is expected, {height * width * 3} bytes, where the body has {len(body)}"
        )
    images = np.frombuffer(body, np.uint8).reshape(1, height, width, 3)
    return Inference("", images, dict.fromkeys(card.output_names, True), None)


def _json_length(header: str, body_bytes: int) -> int:
    if not (header.isascii() and header.isdigit() and len(header) < 16 and int(header) <= body_bytes):
        raise InputError(f"{HEADER_LENGTH}: a number of bytes is expected, not more than the body's {body_bytes}")
    return int(header)


def _require_bearable(text: bytes, card: ModelCard) -> None:
    """TooLarge, and InputError for what is made of brackets, before any of it is read."""
    limit = JSON_ALLOWANCE + MAX_JSON_IMAGES * JSON_BYTES_PER_VALUE * math.prod((*card.input_size, 3))
    if len(text) > limit:
        raise TooLarge(f"{len(text)} bytes of JSON, {limit} at most: send the image as binary data")
    if text.count(b"[") + text.count(b"{") > len(text) / JSON_BYTES_PER_BRACKET + JSON_ALLOWANCE / 64:
        raise InputError("the request's JSON has more brackets than an image")


def _image(tensor: InputTensor, binary: memoryview, card: ModelCard) -> NDArray[np.uint8]:
    """uint8 `[N, H, W, 3]`: a view of `binary`, or the values in JSON."""
    height, width = card.input_size
    if tensor.datatype != DATA_TYPES["uint8"]:
        raise InputError(f"{INPUT} has the datatype {tensor.datatype[:16]!r}: UINT8 is expected")
    if len(tensor.shape) != 4 or tensor.shape[0] < 1 or tensor.shape[1:] != [height, width, 3]:
        raise InputError(f"{INPUT} has the shape {str(tensor.shape)[:64]}: [N, {height}, {width}, 3] is expected")
    if "shared_memory_region" in tensor.parameters:
        raise InputError("shared memory is not supported: send the image with the request")
    size_bytes = math.prod(tensor.shape)
    given = tensor.parameters.get("binary_data_size")
    if given is None:
        if len(binary):
            raise InputError(f"{len(binary)} bytes follow the JSON, but no input has a binary_data_size")
        flat = _flat(tensor.data)
    elif tensor.data is None:
        flat = np.frombuffer(binary, np.uint8)
        if type(given) is not int or given != len(flat):
            raise InputError(f"binary_data_size does not say how many bytes follow the JSON, which are {len(flat)}")
    else:
        raise InputError(f"{INPUT} has both data and a binary_data_size")
    if len(flat) != size_bytes:
        raise InputError(f"{INPUT} holds {len(flat)} values: its shape {tensor.shape} asks for {size_bytes}")
    return flat.reshape(tensor.shape)


def _flat(data: Any) -> NDArray[np.uint8]:
    """uint8 `[values]` of whole numbers, flat or nested up to the image's four axes."""
    values = data if isinstance(data, list) else []
    kinds = set(map(type, values))
    for _ in range(3):
        if kinds == {list}:
            values = list(chain.from_iterable(values))
            kinds = set(map(type, values))
    if kinds != {int}:
        raise InputError(f"the data of {INPUT} is not a list of whole numbers")
    try:
        return np.frombuffer(bytes(values), np.uint8)
    except ValueError as error:
        raise InputError(f"the data of {INPUT} is not between 0 and 255") from error


def _wanted_outputs(request: InferRequest, card: ModelCard) -> dict[str, bool]:
    """Whether each output goes in binary; all of them where none is named."""
    in_binary = _flag(request.parameters, "binary_data_output", default=False)
    if not request.outputs:
        return dict.fromkeys(card.output_names, in_binary)
    for output in request.outputs:
        if output.name not in card.output_names:
            raise InputError(f"no output {output.name[:64]!r}: there are {', '.join(card.output_names)}")
        for parameter in ("classification", "shared_memory_region"):
            if parameter in output.parameters:
                raise InputError(f"{output.name}: {parameter} is not supported")
    return {output.name: _flag(output.parameters, "binary_data", default=in_binary) for output in request.outputs}


def _require_short_answer(outputs: Mapping[str, bool], images: int, card: ModelCard) -> None:
    """InputError where it would be too much JSON, before anything is run for it."""
    shapes = {tensor.name: tensor.shape_of(images) for tensor in output_tensors(card)}
    in_json = sum(math.prod(shapes[name]) for name, in_binary in outputs.items() if not in_binary)
    if in_json > MAX_JSON_VALUES:
        raise InputError(f"the answer has {in_json} values, in JSON {MAX_JSON_VALUES} at most: ask for binary_data")


def _flag(parameters: Parameters, name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise InputError(f"the parameter {name} is true or false")
    return value


def _timeout_seconds(parameters: Parameters) -> float | None:
    """The parameter `timeout`, microseconds as Triton has it; None where the client sets none."""
    value = parameters.get("timeout", 0)
    if type(value) is not int or value < 0:
        raise InputError("the parameter timeout is a whole number of microseconds")
    return min(value, 10**12) / 1e6 or None


def write_response(
    inference: Inference, outputs: Mapping[str, Array], model_name: str, version: str
) -> tuple[bytes, int | None]:
    """The body of an answer, and how much of it is JSON where binary tensors follow."""
    tensors: list[dict[str, Any]] = []
    binary: list[bytes] = []
    for name, is_binary in inference.outputs.items():
        array = np.ascontiguousarray(outputs[name])
        tensor: dict[str, Any] = {"name": name, "shape": list(array.shape), "datatype": DATA_TYPES[array.dtype.name]}
        if is_binary:
            tensors.append(tensor | {"parameters": {"binary_data_size": array.nbytes}})
            binary.append(array.tobytes())
        else:
            tensors.append(tensor | {"data": array.ravel().tolist()})
    identity = {"model_name": model_name, "model_version": version} | ({"id": inference.id} if inference.id else {})
    header = to_json(identity | {"outputs": tensors})
    return (b"".join([header, *binary]), len(header)) if binary else (header, None)
