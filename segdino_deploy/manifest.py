"""The schema of `manifest.json`: what a bundle holds and the evidence that goes with it.

Plain JSON without Python-only types, so that the C++ library reads the same file. Fields are only ever added;
`schema_version` grows when a reader of the old version would misread the new one.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION = 1

Precision = Literal["fp32", "fp16", "bf16", "int8"]
OutputName = Literal["mask", "probability", "logits"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "int8")
OUTPUTS: tuple[OutputName, ...] = ("mask", "probability", "logits")


class Record(BaseModel):
    """Base of all parts: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FileRecord(Record):
    sha256: str
    size_bytes: int


class BatchRange(Record):
    """Batch sizes an engine takes; fixed where the three are equal."""

    min: int = Field(1, ge=1)
    opt: int = Field(1, ge=1)
    max: int = Field(1, ge=1)

    @property
    def is_fixed(self) -> bool:
        return self.min == self.max


class BackboneCard(Record):
    embed_dim: int
    depth: int
    num_heads: int
    ffn: str
    ffn_hidden_dim: int
    num_registers: int


class CheckpointCard(Record):
    """Which files the model came from; `bench --reference` accepts only these bytes."""

    name: str
    sha256: str
    backbone_weights_name: str | None = None
    backbone_weights_sha256: str | None = None


class ModelCard(Record):
    """Everything a program needs to feed the model and to read its outputs."""

    family: str
    num_classes: int
    class_names: list[str]
    input_size: tuple[int, int]  # H, W in pixels
    batch: BatchRange
    outputs: list[OutputName]
    threshold: float  # probability above which a one-class pixel is foreground
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize_filter: Literal["bicubic", "bilinear"]  # Pillow's, antialiased: what training used
    taps: tuple[int, ...]
    backbone: BackboneCard
    checkpoint: CheckpointCard


class ParityRecord(Record):
    """One comparison of logits and masks with the PyTorch reference."""

    images: str  # "canary" or "random"
    backend: str
    max_abs_error: float
    max_abs_logit: float
    relative_error: float  # max_abs_error / max(1, max_abs_logit)
    mask_agreement: float  # share of pixels with the same class
    tolerance: float | None = None  # of relative_error; None where nothing is asked


class CanaryRecord(Record):
    """An engine's answer to the canary."""

    passed: bool
    mask_agreement: float
    relative_error: float | None = None  # where the engine gives logits
    worst_margin: float  # largest |margin| / max(1, |logit|max) of the reference at a pixel that differs; 0 if none
    detail: str = ""


class TypedModel(Record):
    """One ONNX file of the bundle."""

    file: str
    precision: Precision
    weight_products: dict[str, int]  # MatMul, Gemm and Conv nodes per type they compute in
    nodes: int
    casts: int
    qdq_pairs: int = 0
    kept_fp32: list[str] = []  # operators or nodes left in fp32, with the reason
    parity: list[ParityRecord] = []
    calibration_images: int | None = None


class Engine(Record):
    """One built engine."""

    file: str
    companions: list[str] = []
    backend: str
    precision: Precision
    source: str  # the ONNX file it was built from
    built_with: dict[str, str]  # library versions and device
    inference_precision: str | None = None  # what the backend computes in outside the int8 parts
    receipt: dict[str, Any] = {}  # backend's own counts: layers, types, warnings
    canary: CanaryRecord | None = None  # None: this machine cannot run it


class Manifest(Record):
    schema_version: int = SCHEMA_VERSION
    tool_version: str
    model: ModelCard
    onnx: dict[str, TypedModel] = {}
    engines: dict[str, Engine] = {}
    files: dict[str, FileRecord] = {}

    @model_validator(mode="after")
    def _names_stay_inside(self) -> Manifest:
        """A bundle from elsewhere must not reach outside its folder."""
        engines = [name for engine in self.engines.values() for name in (engine.file, *engine.companions)]
        for name in [*self.files, *engines, *(model.file for model in self.onnx.values())]:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"{name} is outside the bundle")
        return self
