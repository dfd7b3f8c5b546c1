"""A TensorRT whose engines are lists of weights: refitting with the rules of the real one, in host memory.

Weights are read when the engine is refitted, not when they are named. What is stored may be refitted again only where
that is asked for, and holds no weights unless that is asked for.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx

SIZES = {"FLOAT": 4, "HALF": 2, "BF16": 2}
TYPES = {onnx.TensorProto.FLOAT: "FLOAT", onnx.TensorProto.FLOAT16: "HALF", onnx.TensorProto.BFLOAT16: "BF16"}


def engine_of(model: onnx.ModelProto, names: Sequence[str], fused: Mapping[str, str] | None = None) -> bytes:
    """An engine in which the weights `names` may be exchanged. `fused`: one of them, and what must come with it."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    weights = {name: [TYPES[tensors[name].data_type], onnx.numpy_helper.to_array(tensors[name])] for name in names}
    return _store({name: [kind, array.tobytes().hex()] for name, (kind, array) in weights.items()}, fused or {}, True)


def weights_in(engine: bytes) -> dict[str, bytes]:
    return {name: bytes.fromhex(data) for name, (_, data) in json.loads(engine)["weights"].items()}


def is_refittable(engine: bytes) -> bool:
    return bool(json.loads(engine)["refittable"])


def _store(weights: Mapping[str, Any], fused: Mapping[str, str], refittable: bool) -> bytes:
    return json.dumps({"weights": weights, "fused": fused, "refittable": refittable}).encode()


class Weights:
    def __init__(self, *given: Any) -> None:
        if len(given) == 1:
            (array,) = given
            kinds = {"float32": "FLOAT", "float16": "HALF"}
            if array.dtype.name not in kinds:
                raise TypeError(f"Could not implicitly convert NumPy data type: {array.dtype} to TensorRT.")
            self.kind, self.address, self.size = kinds[array.dtype.name], array.ctypes.data, array.size
        else:
            self.kind, self.address, self.size = given


class SerializationConfig:
    def __init__(self) -> None:
        self.flags = {"EXCLUDE_WEIGHTS"}

    def set_flag(self, flag: str) -> bool:
        self.flags.add(flag)
        return True

    def clear_flag(self, flag: str) -> bool:
        self.flags.discard(flag)
        return True


class Engine:
    def __init__(self, data: bytes) -> None:
        self.content = json.loads(data)

    def stored(self) -> bytes:
        return _store(self.content["weights"], self.content["fused"], True)

    def create_serialization_config(self) -> SerializationConfig:
        return SerializationConfig()

    def serialize(self) -> bytes:
        return _store(self.content["weights"], self.content["fused"], False)

    def serialize_with_config(self, config: SerializationConfig) -> bytes:
        weights = {} if "EXCLUDE_WEIGHTS" in config.flags else self.content["weights"]
        return _store(weights, self.content["fused"], "INCLUDE_REFIT" in config.flags)


class Runtime:
    engine_host_code_allowed = False
    DLA_core = -1

    def __init__(self, logger: Any) -> None:
        self.logger = logger

    def deserialize_cuda_engine(self, data: bytes) -> Engine | None:
        if not bytes(data).startswith(b"{"):
            self.logger.log(2, "Serialization assertion failed")
            return None
        return Engine(bytes(data))


class Refitter:
    def __init__(self, engine: Engine, logger: Any) -> None:
        self.engine, self.logger = engine, logger
        self.given: dict[str, Weights] = {}

    def get_all_weights(self) -> list[str]:
        return list(self.engine.content["weights"])

    def set_named_weights(self, name: str, weights: Weights) -> bool:
        kind, data = self.engine.content["weights"][name]
        if (kind, len(data) // 2) != (weights.kind, weights.size * SIZES[weights.kind]):
            self.logger.log(2, f"{name} has another type or size")
            return False
        self.given[name] = weights
        return True

    def get_missing_weights(self) -> list[str]:
        fused = self.engine.content["fused"]
        return [other for name, other in fused.items() if name in self.given and other not in self.given]

    def refit_cuda_engine(self) -> bool:
        if not self.engine.content["refittable"] or self.get_missing_weights():
            return False
        np.full(4096, 7, np.uint8)  # whoever let go of an array finds something else in its place
        for name, weights in self.given.items():
            data = ctypes.string_at(weights.address, weights.size * SIZES[weights.kind])
            self.engine.content["weights"][name][1] = data.hex()
        return True


class OnnxParserRefitter:
    """Gives the engine every weight of a model that it has."""

    def __init__(self, refitter: Refitter, logger: Any) -> None:
        self.refitter, self.logger = refitter, logger
        self.kept: list[Any] = []

    def refit_from_bytes(self, data: bytes) -> bool:
        known = set(self.refitter.get_all_weights())
        for tensor in onnx.load_from_string(data).graph.initializer:
            if tensor.name in known:
                self.kept.append(onnx.numpy_helper.to_array(tensor))
                if not self.refitter.set_named_weights(tensor.name, Weights(self.kept[-1])):
                    return False
        return True


class Logger:
    Severity = SimpleNamespace(INTERNAL_ERROR=1, ERROR=2, WARNING=3, INFO=4)


API = SimpleNamespace(
    __name__="refitting",
    __version__="10.9.0",
    DataType=SimpleNamespace(BF16="BF16"),
    ILogger=Logger,
    OnnxParserRefitter=OnnxParserRefitter,
    Refitter=Refitter,
    Runtime=Runtime,
    SerializationFlag=SimpleNamespace(EXCLUDE_WEIGHTS="EXCLUDE_WEIGHTS", INCLUDE_REFIT="INCLUDE_REFIT"),
    Weights=Weights,
)
