"""How a TensorRT engine is built: what professionals set, with the words of their documentation."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from pydantic import ConfigDict

from segdino_deploy.engines.tensorrt.flavours import FLAVOURS, Flavour
from segdino_deploy.errors import InputError

HardwareLevel = Literal["same", "ampere-plus"]
HARDWARE_LEVELS: tuple[HardwareLevel, ...] = get_args(HardwareLevel)
OPTIMIZATION_LEVELS = range(6)
LOW_MEMORY_WORKSPACE_MIB = 256  # of a Jetson's memory, which processor and GPU share


@dataclass(frozen=True)
class TensorRtOptions:
    """Defaults are the builder's own. Names on the command line are the same with dashes.

    `workspace_mib`: device memory that a layer may use while it runs, MiB. `optimization_level`: 0 (fast build) to 5.
    `aux_streams`: streams beside the main one at most. `version_compatible`: later TensorRT versions open the engine.
    `hardware_compatible`: other GPUs of the same compute capability, or Ampere and all later ones. `refittable`: the
    weights of the heads may be exchanged. `strip_weights`: the file holds none of them, `refit` brings them in.
    `compute_capabilities`: GPUs to build for, such as `8.9`. `dla_core`: of a Jetson; layers that it cannot run fall
    back to the GPU. `timing_cache`: file that is read where it exists and written after. `low_memory`: a small
    workspace and one thread, for a Jetson.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")  # as a table of a recipe

    workspace_mib: int | None = None
    optimization_level: int | None = None
    aux_streams: int | None = None
    version_compatible: bool = False
    hardware_compatible: HardwareLevel | None = None
    refittable: bool = False
    strip_weights: bool = False
    compute_capabilities: tuple[str, ...] = ()
    dla_core: int | None = None
    timing_cache: Path | None = None
    low_memory: bool = False

    def __post_init__(self) -> None:
        """InputError for a value out of its range, and for two options that exclude each other."""
        lowest = {"workspace_mib": 1, "aux_streams": 0, "dla_core": 0, "optimization_level": 0}
        for name, low in lowest.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise InputError(f"{option_of(name)}: {value} is below {low}")
        if self.optimization_level is not None and self.optimization_level not in OPTIMIZATION_LEVELS:
            raise InputError(f"{option_of('optimization_level')}: {self.optimization_level} is not from 0 to 5")
        if self.hardware_compatible not in (None, *HARDWARE_LEVELS):
            levels = " or ".join(HARDWARE_LEVELS)
            raise InputError(f"{option_of('hardware_compatible')}: {self.hardware_compatible!r} is not {levels}")
        if self.refittable and self.strip_weights:
            raise InputError(
                f"{option_of('refittable')}: leave it out beside {option_of('strip_weights')}: an engine without "
                "weights takes all of them from the bundle's ONNX file, so that there are none in it to exchange"
            )
        for capability in self.compute_capabilities:
            if not re.fullmatch(r"\d{1,2}\.\d", capability):
                raise InputError(f"{option_of('compute_capabilities')}: {capability!r} is none; such as 8.9")

    @property
    def workspace_bytes(self) -> int | None:
        mib = self.workspace_mib or (LOW_MEMORY_WORKSPACE_MIB if self.low_memory else None)
        return None if mib is None else mib * 2**20

    def given(self) -> dict[str, Any]:
        """The options that are not left to the builder."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}


def check_options(options: TensorRtOptions, backend: str) -> None:
    """InputError where an option means nothing to a backend: it would be ignored in silence."""
    flavour: Flavour | None = FLAVOURS.get(backend)
    for name in options.given():
        if flavour is None or name not in flavour.options:
            fitting = " and ".join(f.name for f in FLAVOURS.values() if name in f.options)
            raise InputError(f"{option_of(name)}: is for {fitting} engines, not for {backend}")


def option_of(field: str) -> str:
    """The name on the command line: `workspace_mib` is `--workspace`."""
    return "--" + field.removesuffix("_mib").replace("_", "-")
