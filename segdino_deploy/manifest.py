"""The schema of `manifest.json`: what a bundle holds and the evidence that goes with it.

Plain JSON without Python-only types, so that the C++ library reads the same file. Fields are only ever added;
`schema_version` grows when a reader of the old version would misread the new one.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION = 2  # 2: what belongs to one head moved from the model's card into `heads`

Precision = Literal["fp32", "fp16", "bf16", "int8"]
OutputName = Literal["mask", "probability", "logits"]
ResizeFilter = Literal["bicubic", "bilinear"]
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


def output_name(head: str, kind: str) -> str:
    """Name of a head's output tensor: `polyp.mask`; of the one unnamed head (`head` is empty): `mask`."""
    return f"{head}.{kind}" if head else kind


def head_and_kind(tensor: str) -> tuple[str, str]:
    """The reverse of `output_name`: `polyp.mask` to (`polyp`, `mask`), `mask` to (empty, `mask`)."""
    head, _, kind = tensor.rpartition(".")
    return head, kind


class HeadCard(Record):
    """What a program needs to read one head's outputs, whose tensors are named by `output_name`."""

    # Empty: the only head, exported without a name. Files are named after heads, so not everything may be a name.
    name: str = Field("", pattern=r"^([A-Za-z][A-Za-z0-9_-]*)?$")
    family: str
    num_classes: int
    class_names: list[str]
    outputs: list[OutputName]
    threshold: float  # probability above which a one-class pixel is foreground
    taps: tuple[int, ...]
    resize_filter: ResizeFilter  # what training used
    checkpoint: CheckpointCard


class ModelCard(Record):
    """Everything a program needs to feed the model and to read its outputs."""

    heads: list[HeadCard] = Field(min_length=1)
    input_size: tuple[int, int]  # H, W in pixels
    batch: BatchRange
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize_filter: ResizeFilter  # Pillow's, antialiased: what to feed the model with, the first head's
    backbone: BackboneCard

    @model_validator(mode="after")
    def _heads_can_be_told_apart(self) -> ModelCard:
        names = [head.name for head in self.heads]
        if len(set(names)) != len(names) or (len(names) > 1 and "" in names):
            raise ValueError("several heads need different names")
        return self

    @property
    def output_names(self) -> list[str]:
        """The output tensors, in order."""
        return [output_name(head.name, kind) for head in self.heads for kind in head.outputs]

    @property
    def thresholds(self) -> dict[str, float]:
        """Threshold by head name."""
        return {head.name: head.threshold for head in self.heads}

    @property
    def summary(self) -> str:
        """The heads in words: `v2`, or `polyp (v1_convt), lesion (v2)`."""
        return ", ".join(f"{head.name} ({head.family})" if head.name else head.family for head in self.heads)


class ParityRecord(Record):
    """One comparison of one head's logits and masks with the PyTorch reference."""

    head: str = ""
    images: str  # "canary", "random" or "calibration"
    backend: str
    max_abs_error: float
    max_abs_logit: float
    relative_error: float  # max_abs_error / max(1, max_abs_logit)
    mask_agreement: float  # share of pixels with the same class
    tolerance: float | None = None  # of relative_error; None where nothing is asked


class CanaryRecord(Record):
    """An engine's answer to the canary: the worst of its heads; where heads have names, each of them in `heads`."""

    head: str = ""
    passed: bool
    mask_agreement: float
    relative_error: float | None = None  # where the engine gives logits
    worst_margin: float  # largest |margin| / max(1, |logit|max) of the reference at a pixel that differs; 0 if none
    detail: str = ""
    heads: list[CanaryRecord] = []


class Int8Record(Record):
    """How an int8 model was made: enough, with `calibration.json`, to make it again."""

    activations: str  # int8: symmetric; uint8: asymmetric
    method: str  # of the ranges
    groups: list[str]  # quantized products, by group
    floats: dict[str, str]  # groups that stay in fp32, with the reason
    strengths: dict[str, float]  # of smoothing, by layer; 0: left as it is
    coverage: dict[str, Any]  # of the calibration images
    calibration_sha256: str = ""  # of the calibration's record in `calibration.json`


class TypedModel(Record):
    """One ONNX file of the bundle."""

    file: str
    precision: Precision
    weight_products: dict[str, int]  # MatMul, Gemm and Conv nodes per type they compute in
    nodes: int
    casts: int
    qdq_pairs: int = 0
    kept_fp32: list[str] = []  # operators or nodes left in fp32, with the reason
    # of a 16-bit model: the ten tensors of the fp32 model nearest to the format's limit and their largest |x| ...
    largest_values: dict[str, float] = {}
    checked_on: str = ""  # ... on these images: "64 calibration images" or "the canary"
    images_sha256: str | None = None  # of those calibration images; empty: the canary; None: not known
    parity: list[ParityRecord] = []
    # what engines built from this file must answer: the reference's logits; of an int8 model its own, for the canary's
    # colours may lie far outside the ranges that it was calibrated on
    canary: str = "canary.npz"
    calibration_images: int | None = None
    int8: Int8Record | None = None


class StageCount(Record):
    """What one stage of a graph (backbone, head, output) computes for one image."""

    operations: int = 0  # nodes
    multiply_adds: int = 0  # of products and convolutions

    def __add__(self, other: StageCount) -> StageCount:
        return StageCount(
            operations=self.operations + other.operations, multiply_adds=self.multiply_adds + other.multiply_adds
        )


class FoldingRecord(Record):
    """What folding did to the graph."""

    rewrites: dict[str, int]  # name -> how often
    after: dict[str, StageCount]  # model.onnx, by stage
    before: dict[str, StageCount] | None = None  # plain exports of the same checkpoints; with `export --explain`


class LoweringRecord(Record):
    """Which spelling of one part of the graph an engine got, and what was measured to choose it."""

    part: str
    chosen: str
    median_ms: dict[str, float] = {}  # of the canary; empty where nothing was measured
    # the chosen one than the one in model.onnx: by the median of the rounds or by the best round, whichever says less
    times_faster: float | None = None
    refused: dict[str, str] = {}  # variants the backend or the check refused, with the reason
    note: str = ""


class Asked(Record):
    """What a build was asked for, as far as nothing else in its engine's record tells it: `--resume` compares it."""

    tool_version: str
    lowering: list[str]  # `auto`, `none` or names
    inference_precision: str | None = None  # None: measured
    calibration_images: int | None = None
    seed: int = 0


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
    lowering: list[LoweringRecord] = []
    canary: CanaryRecord | None = None  # None: this machine cannot run it
    build_seconds: float | None = None  # of the backend's own part
    asked: Asked | None = None  # None: not known, so that it is never taken for what a line asks for

    @property
    def read_files(self) -> list[str]:
        """What opening it reads. OpenVINO takes the weights beside the model, whether they are named or not."""
        weights = [str(PurePosixPath(self.file).with_suffix(".bin"))] if self.backend == "openvino" else []
        return list(dict.fromkeys([self.file, *self.companions, *weights]))

    @property
    def files(self) -> list[str]:
        """What building it again replaces: its own files, and the recipe that an int8 engine has beside it."""
        recipe = PurePosixPath(self.file).with_suffix(".toml")
        return [self.file, *self.companions, str(recipe)]


class Manifest(Record):
    schema_version: int = SCHEMA_VERSION
    tool_version: str
    model: ModelCard
    folding: FoldingRecord | None = None
    onnx: dict[str, TypedModel] = {}  # by precision; int8 of a backend with its own form as `int8-<backend>`
    engines: dict[str, Engine] = {}
    files: dict[str, FileRecord] = {}

    @model_validator(mode="after")
    def _names_stay_inside(self) -> Manifest:
        """A bundle from elsewhere must not reach outside its folder."""
        engines = [
            name for engine in self.engines.values() for name in (engine.file, *engine.companions, engine.source)
        ]
        models = [name for model in self.onnx.values() for name in (model.file, model.canary)]
        for name in [*self.files, *engines, *models]:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"{name} is outside the bundle")
        return self
