"""Triton's own protobuf classes, which its client library carries, and the text form that `config.pbtxt` has."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from segdino_deploy.errors import InputError, one_line
from segdino_deploy.requirements import require_module

PURPOSE = "Triton"
HEADER = "# Written by segdino-deploy; writing the model again replaces this file.\n"


def triton_module(name: str) -> ModuleType:
    """`tritonclient.<name>`. MissingComponent with the install line where the library is not here."""
    require_module("tritonclient", PURPOSE, extra="triton")  # first: looking for a part of what is absent would raise
    return require_module(f"tritonclient.{name}", PURPOSE, extra="triton")


def model_config_classes() -> Any:
    """The module with `ModelConfig` and its parts."""
    return triton_module("grpc.model_config_pb2")


def to_text(config: Any) -> str:
    """The content of `config.pbtxt`: the same for the same message."""
    text_format = require_module("google.protobuf.text_format", PURPOSE, extra="triton")
    return HEADER + str(text_format.MessageToString(config, as_utf8=True))


def from_text(text: str, where: str) -> Any:
    """The `ModelConfig` in a `config.pbtxt`. InputError, with `where`, for anything that Triton could not read."""
    text_format = require_module("google.protobuf.text_format", PURPOSE, extra="triton")
    try:
        return text_format.Parse(text, model_config_classes().ModelConfig())
    except text_format.ParseError as error:
        raise InputError(f"{where}: not a model configuration of Triton ({one_line(error)})") from error
