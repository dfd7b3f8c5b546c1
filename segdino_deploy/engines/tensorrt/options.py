"""How a TensorRT engine is built: what professionals set, with the words of their documentation."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from pydantic import ConfigDict, StrictBool, StrictInt

from segdino_deploy.engines.tensorrt.flavours import FLAVOURS, Flavour
from segdino_deploy.errors import InputError

HardwareLevel = Literal["same", "ampere-plus"]
HARDWARE_LEVELS: tuple[HardwareLevel, ...] = get_args(HardwareLevel)
CAPABILITY = re.compile(r"[1-9]\d?\.\d")
RANGES = {
    "workspace_mib": (1, 2**20),  # no device has a TiB
    "aux_streams": (0, 64),
    "dla_core": (0, 15),
    "optimization_level": (0, 5),
}
LOW_MEMORY_WORKSPACE_MIB = 256  # of a Jetson's memory, which processor and GPU share


class OptionRefused(InputError):
    """A value that an option cannot have; `field` is its name in a recipe."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{option_of(field)}: {why}")
        self.field = field
        self.why = why


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

    workspace_mib: StrictInt | None = None
    optimization_level: StrictInt | None = None
    aux_streams: StrictInt | None = None
    version_compatible: StrictBool = False
    hardware_compatible: HardwareLevel | None = None
    refittable: StrictBool = False
    strip_weights: StrictBool = False
    compute_capabilities: tuple[str, ...] = ()
    dla_core: StrictInt | None = None
    timing_cache: Path | None = None
    low_memory: StrictBool = False

    def __post_init__(self) -> None:
        """OptionRefused for a value out of its range, and for two options that exclude each other.

        Compute capabilities are put in order, each once.
        """
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise OptionRefused(name, f"{value} is not from {low} to {high}")
        if self.hardware_compatible not in (None, *HARDWARE_LEVELS):
            levels = " or ".join(HARDWARE_LEVELS)
            raise OptionRefused("hardware_compatible", f"{self.hardware_compatible!r} is not {levels}")
        if self.refittable and self.strip_weights:
            raise OptionRefused(
                "refittable",
                f"leave it out beside {option_of('strip_weights')}: an engine without "
                "weights takes all of them from the bundle's ONNX file, so that there are none in it to exchange",
            )
        for capability in self.compute_capabilities:
            if not CAPABILITY.fullmatch(capability):
                raise OptionRefused("compute_capabilities", f"{capability!r} is none; such as 8.9")
        in_order = sorted(set(self.compute_capabilities), key=lambda one: [int(part) for part in one.split(".")])
        object.__setattr__(self, "compute_capabilities", tuple(in_order))

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
