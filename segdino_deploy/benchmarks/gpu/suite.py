"""What `benchmarks/gpu.toml` says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from segdino_deploy.benchmarks.graph.suite import FamilyName
from segdino_deploy.export.options import PATCH_SIZE
from segdino_deploy.manifest import Precision
from segdino_deploy.recipes import Recipe, read_recipe

VitName = Literal["tiny", "s", "b"]  # tiny: to try the suite out
ExportName = Literal["folded", "plain"]
RuntimeName = Literal["torch-eager", "torch-compile", "onnxruntime", "onnxruntime-graph", "tensorrt", "tensorrt-rtx"]
CompileMode = Literal["default", "reduce-overhead", "max-autotune"]  # of torch.compile


class Suite(Recipe):
    """Every family with every backbone at every batch size is a case; all runtimes take part in each."""

    families: list[FamilyName] = Field(min_length=1)
    vits: list[VitName] = Field(min_length=1)
    batches: list[Annotated[int, Field(ge=1)]] = Field(min_length=1)  # an engine of its own for each
    size: int = Field(512, ge=PATCH_SIZE, multiple_of=PATCH_SIZE)  # square, pixels
    runtimes: list[RuntimeName] = Field(min_length=1)  # prepared in this order
    precisions: list[Precision] = Field(min_length=1)  # of each runtime, those that it has
    exports: list[ExportName] = Field(["folded", "plain"], min_length=1)
    rounds: int = Field(200, ge=1)  # at most
    min_rounds: int = Field(30, ge=1)  # also where `seconds` have passed
    seconds: float = Field(120, gt=0)  # of measuring one group of contestants
    warmup: int = Field(10, ge=0)  # rounds that do not count
    seed: int = 0  # of the random weights
    compile_mode: CompileMode = "reduce-overhead"

    @field_validator("families", "vits", "batches", "runtimes", "precisions", "exports")
    @classmethod
    def _each_once(cls, values: Sequence[object], info: ValidationInfo) -> Sequence[object]:
        if len(set(values)) != len(values):
            raise ValueError(f"{info.field_name} names one thing twice")
        return values


def read_suite(path: Path) -> Suite:
    """Reads and checks a suite. InputError names the file and the first wrong key."""
    return read_recipe(path, Suite)
