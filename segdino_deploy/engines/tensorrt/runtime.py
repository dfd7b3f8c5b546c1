"""TensorRT's runtime, which opens engines: for the runner, the receipt and the exchange of weights alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from segdino_deploy.engines.tensorrt.flavours import TensorRtModule
from segdino_deploy.engines.tensorrt.messages import Messages

if TYPE_CHECKING:
    import tensorrt as trt


def open_runtime(api: TensorRtModule, messages: Messages, options: Mapping[str, object]) -> trt.Runtime:
    """A runtime that can open an engine which was built with `options`, as its receipt names them."""
    runtime: trt.Runtime = api.Runtime(messages.logger)
    if options.get("version_compatible"):
        runtime.engine_host_code_allowed = True  # such an engine brings its own runtime along
    if options.get("dla_core") is not None:
        runtime.DLA_core = int(str(options["dla_core"]))
    return runtime
