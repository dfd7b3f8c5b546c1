"""The builders by name, and which of them a machine takes by itself."""

from __future__ import annotations

from functools import partial

from segdino_deploy.engines.build import onnxruntime, openvino, tensorrt
from segdino_deploy.engines.build.contract import Backend
from segdino_deploy.engines.tensorrt.requests import check_request
from segdino_deploy.errors import MissingComponent
from segdino_deploy.gpu import has_gpu
from segdino_deploy.requirements import has_module


def _tensorrt(name: str) -> Backend:
    return Backend(
        name,
        partial(tensorrt.check, name),
        partial(tensorrt.build, name=name),
        partial(tensorrt.identify, name),
        check_options=partial(check_request, name),
        has_device=has_gpu,
    )


BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (
        Backend(
            "openvino",
            openvino.check,
            openvino.build,
            openvino.identify,
            openvino.open_model,
            openvino.inference_precisions,
            openvino.check_options,
        ),
        Backend(
            "onnxruntime",
            onnxruntime.check,
            onnxruntime.build,
            onnxruntime.identify,
            onnxruntime.open_model,
            check_options=onnxruntime.check_options,
        ),
        _tensorrt("tensorrt-rtx"),
        _tensorrt("tensorrt"),
    )
}


def choose_backend() -> tuple[str, str]:
    """The default backend of this machine and the reason, for the user to read."""
    try:
        tensorrt.check("tensorrt")
        return "tensorrt", "TensorRT is installed with a GPU"
    except MissingComponent:
        pass
    if has_module("openvino"):
        return "openvino", "no TensorRT with a GPU here; OpenVINO is installed"
    return "onnxruntime", "neither TensorRT with a GPU nor OpenVINO here"
