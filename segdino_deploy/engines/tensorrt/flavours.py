"""The two TensorRT products as one: what differs between them stands in `FLAVOURS` and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from segdino_deploy.requirements import require_module

if TYPE_CHECKING:
    import tensorrt as trt


class TensorRtModule(Protocol):
    """Every name that this package uses of `tensorrt` (10 and 11) and `tensorrt_rtx`, in which they are the same."""

    __name__: str
    __version__: str
    Builder: type[trt.Builder]
    BuilderFlag: type[trt.BuilderFlag]
    DataType: type[trt.DataType]
    Dims: type[trt.Dims]
    DeviceType: type[trt.DeviceType]
    HardwareCompatibilityLevel: type[trt.HardwareCompatibilityLevel]
    ILogger: type[trt.ILogger]
    IProgressMonitor: type[trt.IProgressMonitor]
    LayerInformationFormat: type[trt.LayerInformationFormat]
    LayerType: type[trt.LayerType]
    MemoryPoolType: type[trt.MemoryPoolType]
    NetworkDefinitionCreationFlag: type[trt.NetworkDefinitionCreationFlag]
    OnnxParser: type[trt.OnnxParser]
    OnnxParserRefitter: type[trt.OnnxParserRefitter]
    ProfilingVerbosity: type[trt.ProfilingVerbosity]
    Refitter: type[trt.Refitter]
    Runtime: type[trt.Runtime]
    SerializationFlag: type[trt.SerializationFlag]
    TensorIOMode: type[trt.TensorIOMode]
    Weights: type[trt.Weights]


@dataclass(frozen=True)
class Flavour:
    """One product. `options`: the fields of `TensorRtOptions` that mean something to it."""

    name: str  # of the backend
    title: str
    module: str
    package: str  # the distribution that holds it
    suffix: str  # of its engine files
    builds_without_gpu: bool
    options: frozenset[str]
    magic: bytes = b""  # that its engine files begin with, where that is known for certain
    cures: tuple[tuple[str, str], ...] = ()  # part of an error message of its own, and what to do
    # Kernels are made where it runs: there is a cache of them, CUDA graphs are its own, and it says what it will open.
    compiles_on_device: bool = False

    def load(self) -> TensorRtModule:
        """The module, or MissingComponent with the install line."""
        return cast(TensorRtModule, require_module(self.module, f"{self.name} engines", extra=self.name))


_COMMON = frozenset({"workspace_mib", "refittable", "strip_weights", "low_memory"})
# TensorRT-RTX chooses kernels where it runs: no level or number of streams changes a byte of its engines.
_TIMED = frozenset({"optimization_level", "aux_streams", "timing_cache"})
_CURES = (
    ("No space left", "free some disk space"),
    ("out of memory", "close other programs, or build with --low-memory"),
    ("OutOfMemory", "close other programs, or build with --low-memory"),
)

# Where the workspace was limited.
WORKSPACE_CURES = (
    ("within workspace limit", "give it more with --workspace MIB"),
    ("Could not find any implementation for node", "give it more with --workspace MIB"),
)

FLAVOURS: dict[str, Flavour] = {
    flavour.name: flavour
    for flavour in (
        Flavour(
            "tensorrt",
            "TensorRT",
            "tensorrt",
            "tensorrt",
            "plan",
            builds_without_gpu=False,
            options=_COMMON | _TIMED | {"version_compatible", "hardware_compatible", "dla_core"},
            cures=_CURES,
        ),
        Flavour(
            "tensorrt-rtx",
            "TensorRT-RTX",
            "tensorrt_rtx",
            "tensorrt-rtx-cu13",
            "rtx",
            builds_without_gpu=True,
            options=_COMMON | {"compute_capabilities"},
            magic=b"vtrt",
            cures=_CURES,
            compiles_on_device=True,
        ),
    )
}
