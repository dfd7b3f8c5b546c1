"""What `bench` was asked for."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields
from pathlib import Path

from segdino_deploy.errors import InputError


@dataclass(frozen=True)
class BenchOptions:
    """Options of one run. InputError where two of them contradict each other."""

    references: tuple[Path, ...] = ()  # a checkpoint per head; none: model.onnx in ONNX Runtime stands in for them
    backbone_weights: Path | None = None
    data: Path | None = None  # data set folder, or folder of images
    image_dir: str | None = None  # None: as the data set's layout has it
    mask_dir: str | None = None
    foreground: tuple[int, ...] | None = None
    head: str | None = None  # whose masks the data set holds; None: the only head
    max_drop: float | None = None  # Dice points, or percent of pixels where there are no masks
    rounds: int = 20
    warmup: int = 3
    threads: int | None = None  # None: as many as this process may use
    batch_sizes: tuple[int, ...] = ()  # of the throughput; none: the model's own
    callers: tuple[int, ...] = (1, 2)  # threads that share one engine
    throughput_seconds: float = 2.0  # of each combination
    starts: int = 3  # new processes that open each engine
    worst: int = 3  # images shown per engine
    layers: bool = False  # compare layer by layer
    cpp: Path | None = None  # segdino_bench, which runs every engine once more; None: Python alone
    seed: int = 0  # of the bootstrap

    def __post_init__(self) -> None:
        if self.data is None:
            for option, value in (
                ("--max-drop", self.max_drop),
                ("--foreground", self.foreground),
                ("--image-dir", self.image_dir),
                ("--mask-dir", self.mask_dir),
            ):
                if value is not None:
                    raise InputError(f"{option}: needs images: name them with --data")
            if self.head is not None:
                raise InputError(f"--head: {self.head!r} has no masks to be scored with; name a data set with --data")
        for option, numbers in (("--callers", self.callers), ("--batch-sizes", self.batch_sizes)):
            if any(number < 1 for number in numbers):
                raise InputError(f"{option}: {min(numbers)} is below 1")
        if not self.callers and self.throughput_seconds:
            raise InputError("--callers: names no number; --throughput-seconds 0 leaves throughput out")

    def require_no_masks_asked(self) -> None:
        """InputError where something was asked of masks: the data set has none."""
        for option, value in (("--mask-dir", self.mask_dir), ("--foreground", self.foreground)):
            if value is not None:
                cure = "name their folder with --mask-dir" if option != "--mask-dir" else "name another folder"
                raise InputError(f"{self.data}: has no masks, which {option} is about; {cure}")

    def command(self, bundle: Path) -> str:
        """The line that runs the same again."""
        words = ["segdino-deploy", "bench", str(bundle)]
        for name in (field.name for field in fields(self)):
            value, default = getattr(self, name), getattr(BenchOptions, name, None)
            option = "--" + ("reference" if name == "references" else name).replace("_", "-")
            if value == default or name == "seed":  # no option of the program
                continue
            if isinstance(value, bool):
                words.append(option)
            elif name == "references":
                words += [word for path in value for word in (option, str(path))]
            elif isinstance(value, tuple):
                words += [option, ",".join(map(str, value))]
            else:
                words += [option, str(value)]
        return shlex.join(words)
