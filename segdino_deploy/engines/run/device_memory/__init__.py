"""CUDA memory for runners, behind one interface: cuda-python where it is installed, else pycuda."""

from __future__ import annotations

import warnings

from segdino_deploy.engines.run.device_memory.contract import DEFAULT_STREAM, DeviceMemory
from segdino_deploy.errors import MissingComponent
from segdino_deploy.requirements import has_module, install_line, require_module

EXTRA = "tensorrt"


def open_device_memory() -> DeviceMemory:
    """CUDA of the calling thread's GPU: through cuda-python where it is installed, else through pycuda.

    Raises MissingComponent, with the install line, where neither is there, and where the one that is does not work.
    """
    from segdino_deploy.engines.run.device_memory.cuda_python import SPELLINGS, CudaPythonMemory

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the older spelling says that it is the older one
        for name in SPELLINGS:
            if _has(name):
                return CudaPythonMemory(require_module(name, "memory on the GPU", extra=EXTRA))
    if _has("pycuda.driver"):
        from segdino_deploy.engines.run.device_memory.pycuda import PycudaMemory

        return PycudaMemory(require_module("pycuda.driver", "memory on the GPU", extra="pycuda"))
    raise MissingComponent(
        f"memory on the GPU: neither cuda-python nor pycuda is installed; {install_line(EXTRA)}, "
        "or only pip install cuda-python"
    )


def has_package() -> bool:
    """Whether one of the packages is installed; whether it works here, opening shows."""
    from segdino_deploy.engines.run.device_memory.cuda_python import SPELLINGS

    return any(map(_has, (*SPELLINGS, "pycuda.driver")))


def _has(name: str) -> bool:
    """As `has_module`, for a module inside packages that may be missing themselves."""
    try:
        return has_module(name)
    except ModuleNotFoundError:
        return False


__all__ = ["DEFAULT_STREAM", "DeviceMemory", "has_package", "open_device_memory"]
