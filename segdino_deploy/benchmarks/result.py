"""The schema of `report.json`: everything that one run of `bench` measured. All pages are rendered from it.

Numbers per image and samples are kept whole, so that another run can be compared with this one image by image.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from segdino_deploy.benchmarks.latency.summary import Latency
from segdino_deploy.errors import InputError
from segdino_deploy.manifest import ModelCard, Precision

SCHEMA_VERSION: Final = 2  # 1: runs before there were intervals and numbers per image; it named no version
BUSY_PROCESSORS = 0.25  # kept busy by others, above which a run says so


class Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(Entry):
    """95% of the bootstrap's repeats lie between the two."""

    low: float
    high: float


class Ratio(Entry):
    """How many times faster than the reference: median over the rounds, both sides of the same round."""

    value: float
    interval: Interval | None  # None: of fewer rounds than an interval needs


class Stages(Entry):
    """File to mask at source size, one image, taken apart."""

    decode: Latency  # file to RGB
    resize: Latency  # to the model's size
    run: Latency  # array in host memory to masks in host memory
    resize_back: Latency  # masks to the source's size
    total: Latency


class Speed(Entry):
    """One batch in three ways, each measured in interleaved rounds of all contestants. Milliseconds per image."""

    engine_only: Latency  # the engine alone: input bound in its memory, outputs left there
    with_copies: Latency  # from arrays in host memory to arrays in host memory: what a program sees
    file_to_mask: Stages | None  # None: no images were named
    engine_only_ratio: Ratio
    with_copies_ratio: Ratio
    file_to_mask_ratio: Ratio | None


class Throughput(Entry):
    """All callers together, each of which sends the next batch when it has its masks."""

    batch: int
    callers: int  # threads that share the engine
    images_per_second: float
    call: Latency  # milliseconds of one call of one batch, waiting included; not divided by the batch


class StartUp(Entry):
    """Seconds from the start of a new process to its first mask; medians of the repeats."""

    imports_s: float
    open_s: float  # hashes, engine, compilation
    first_mask_s: float
    total_s: float
    samples_s: list[float]  # of the total


class Energy(Entry):
    joules_per_image: float
    source: str  # "RAPL package", "NVML board"


class MetricSummary(Entry):
    """One metric over the images, and what changed against the reference."""

    mean: float | None  # of the images where it is finite and defined; None where there is none
    images: int  # that the mean is of
    left_out: int  # infinite or not defined
    difference: float | None  # mean over the images where both have it: engine minus reference
    difference_interval: Interval | None  # None where there are fewer such images than an interval needs


class Accuracy(Entry):
    """Keys are ids of `metrics.METRICS`, `dice` say, with the class behind them where there are several: `dice/grey`.

    Without a class it is the macro mean over the classes of that image. Heads with names come first: `polyp:agreement`.
    """

    per_image: dict[str, list[float | None]]  # in the order of `Data.images`; None: infinite or not defined
    summary: dict[str, MetricSummary]


class LayerCosine(Entry):
    """One value of the graph, the same in both models."""

    name: str
    operator: str  # that makes it
    cosine: float  # of the two, flattened, over all images that were compared; at most 1
    relative_error: float  # |difference| / |reference|, Euclidean: all that came about up to here
    own_error: float  # the same where the layer is given the reference's inputs: what it adds by itself


class Layers(Entry):
    """Layer by layer against model.onnx, both in ONNX Runtime."""

    file: str  # that was compared: the one the engine was built from
    images: int
    layers: list[LayerCosine]  # in the order of the graph
    departs_most: str  # name of the layer with the largest error of its own; empty where none has any


class WorstCase(Entry):
    """One of the images that change most. Pictures are PNG files, relative to the report's folder."""

    image: str
    agreement: float  # worst head
    metrics: dict[str, float | None]  # of this image, the engine's
    reference_metrics: dict[str, float | None]
    reference_picture: str  # overlay of the reference's mask
    engine_picture: str
    truth_picture: str | None  # None: there is no truth
    disagreement_picture: str  # pixels of another class, on the image


class Row(Entry):
    """One contestant, the reference or an engine."""

    name: str
    backend: str
    precision: Precision
    device: str
    computes_in: str | None  # outside its int8 parts, where the backend has a choice
    speed: Speed
    throughput: list[Throughput]
    start_up: StartUp
    peak_host_mib: float
    device_mib: float | None  # None: it has no memory of its own, or does not tell
    energy: Energy | None
    accuracy: Accuracy | None  # None: no images were named
    worst: list[WorstCase] = []
    layers: Layers | None = None
    no_layers: str = ""  # why they were not compared, where that was asked for
    receipt: dict[str, object] = {}  # the engine's, of the manifest: what computes in which type


class Verdict(Entry):
    """Whether an engine keeps the budget: one of its scores, one of the worst head that has none."""

    engine: str
    head: str  # that is judged; empty for the one without a name
    passed: bool
    is_judged: bool  # False: the reference itself scores so little that no budget can be judged; never passed
    drop: float
    unit: Literal["Dice points", "% of pixels changed"]
    budget: float
    images: int  # that the drop is the mean of
    interval: Interval | None  # of the drop; None: of fewer images than an interval needs
    detail: str  # one sentence


class Data(Entry):
    """The images that were scored."""

    directory: str  # the last part of its path
    layout: str  # in words
    images: list[str]  # relative to the data set, in order
    sha256: str  # of all image and mask files, in order
    has_masks: bool
    scored_head: str  # whose masks they are; empty for the one without a name
    class_names: list[str]  # that are scored, without the background
    foreground: list[int] | None  # values of the masks that are foreground; None: as the data set's layout has it


class Environment(Entry):
    machine: str
    system: str  # "Linux 6.1"
    threads: int
    versions: dict[str, str]
    # processors that others kept busy while speed was measured; None: the system does not tell
    others_busy: float | None = None

    @property
    def is_busy(self) -> bool:
        """Whether others took so much that speeds are not those of the machine."""
        return self.others_busy is not None and self.others_busy > BUSY_PROCESSORS


class BenchResult(Entry):
    schema_version: Literal[2] = SCHEMA_VERSION
    tool_version: str
    command: str  # that measures the same again
    created: str  # ISO 8601, UTC
    bundle: str  # its name
    model: ModelCard
    environment: Environment
    rounds: int
    warmup: int
    batch: int  # of the latencies
    reference: str  # name of its row
    reference_identity: str  # what its answers depend on: name, and hashes of its files or checkpoints
    data: Data | None
    rows: list[Row]  # the reference first
    budget: float | None  # Dice points, or percent of pixels where there are no scores; None: none was named
    verdicts: list[Verdict]  # empty: no budget was named, or no engine was run
    not_run: dict[str, str]  # engine and reason

    def row(self, name: str) -> Row:
        """InputError: this run has none of that name."""
        found = next((row for row in self.rows if row.name == name), None)
        if found is None:
            raise InputError(f"report.json: has no row of {name!r}: it is damaged; measure again with bench")
        return found

    @property
    def passed(self) -> bool:
        """Whether every engine that was run keeps the budget; a budget that nothing was judged by is not kept."""
        return all(verdict.passed for verdict in self.verdicts) and (self.budget is None or bool(self.verdicts))
