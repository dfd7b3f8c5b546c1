"""What can be asked of a build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from segdino_deploy import __version__
from segdino_deploy.engines.calibration.calibrate import CalibrationOptions
from segdino_deploy.engines.lowering.choose import AUTO
from segdino_deploy.engines.precision.budget.options import Budget
from segdino_deploy.engines.tensorrt.options import TensorRtOptions
from segdino_deploy.errors import InputError
from segdino_deploy.manifest import Asked, Precision


@dataclass(frozen=True)
class BuildOptions:
    """What to build. `backend` None: chosen by `choose_backend`.

    `calibration`: images for int8 (folder, list file or a `calibration.json`), or to find what 16 bits cannot hold.
    `lowering`: `("auto",)`, `("none",)` or names of `engines.lowering.LOWERINGS`. `fp32_groups`: groups of products
    that int8 leaves in fp32, exactly these; None: those that need a search. `budget`: finds them instead.
    """

    precision: Precision
    backend: str | None = None
    calibration: Path | None = None
    lowering: tuple[str, ...] = (AUTO,)
    inference_precision: str | None = None  # OpenVINO: `f32`, `bf16` or `f16`; None: the fastest one, measured
    calibration_method: str | None = None  # minmax, percentile, entropy or mse; None: minmax, or that of the cache
    calibration_images: int | None = None  # at most so many, drawn with `seed`
    seed: int = 0
    skip_unreadable: bool = False
    smoothing: Mapping[str, float] | None = None  # strength by layer, from a recipe; None: searched
    image_dir: str = "image"  # the images' folder where `calibration` is a data set
    fp32_groups: tuple[str, ...] | None = None
    budget: Budget | None = None
    tensorrt: TensorRtOptions = field(default_factory=TensorRtOptions)

    def __post_init__(self) -> None:
        """InputError for a budget where there is nothing to choose, or the choice is made already."""
        if self.budget is not None and self.precision != "int8":
            raise InputError("--max-drop: is for --int8; other precisions have nothing to choose")
        if self.budget is not None and self.fp32_groups is not None:
            raise InputError(
                "--fp32-groups: --max-drop finds them: leave out one of the two (the recipe may name some)"
            )

    @property
    def how_to_calibrate(self) -> CalibrationOptions:
        return CalibrationOptions(
            self.calibration,
            self.calibration_method,
            self.calibration_images,
            self.seed,
            self.skip_unreadable,
            self.image_dir,
            self.smoothing,
        )


def asked_by(options: BuildOptions) -> Asked:
    """For the engine's record: what `--resume` could not read from anything else in it."""
    return Asked(
        tool_version=__version__,
        lowering=list(options.lowering),
        inference_precision=options.inference_precision,
        calibration_images=options.calibration_images,
        seed=options.seed,
    )


def engine_name(options: BuildOptions) -> str:
    """`<backend>-<precision>`, and the GPUs an engine is built for where they are named: `tensorrt-rtx-fp16-sm89`.

    `options` name a backend.
    """
    assert options.backend is not None
    targets = [f"sm{capability.replace('.', '')}" for capability in options.tensorrt.compute_capabilities]
    return "-".join([options.backend, options.precision, *targets])
