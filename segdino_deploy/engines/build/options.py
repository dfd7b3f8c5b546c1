"""What can be asked of a build, and which engine of a bundle answers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from segdino_deploy.bundle import Bundle
from segdino_deploy.engines.calibration.calibrate import CalibrationOptions
from segdino_deploy.engines.lowering.choose import AS_EXPORTED, AUTO, NONE
from segdino_deploy.engines.precision.budget.options import Budget
from segdino_deploy.engines.tensorrt.options import TensorRtOptions
from segdino_deploy.engines.tensorrt.versions import RECEIPT_OPTIONS, options_for_receipt
from segdino_deploy.errors import InputError
from segdino_deploy.manifest import Engine, Precision


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


def find_built(bundle: Bundle, backend: str, options: BuildOptions) -> Engine | None:
    """The engine that these options would build, where the bundle has it: same model, spellings, TensorRT options.

    An engine goes when the model that it was built from is made anew, so that one which is there is up to date; but
    what makes the model anew (calibration images, groups, strengths, a budget) is never there already.
    """
    makes_model = (options.calibration, options.calibration_method, options.fp32_groups, options.smoothing)
    engine = bundle.manifest.engines.get(engine_name(backend, options))
    if engine is None or options.budget is not None or any(given is not None for given in makes_model):
        return None
    spelled = {record.chosen for record in engine.lowering} - {AS_EXPORTED}
    wanted = set(options.lowering) - {NONE}
    is_spelled_alike = options.lowering == (AUTO,) or spelled == wanted
    is_same = engine.receipt.get(RECEIPT_OPTIONS, {}) == options_for_receipt(options.tensorrt)
    return engine if is_spelled_alike and is_same else None


def engine_name(backend: str, options: BuildOptions) -> str:
    """`<backend>-<precision>`, and the GPUs an engine is built for where they are named: `tensorrt-rtx-fp16-sm89`."""
    targets = [f"sm{capability.replace('.', '')}" for capability in options.tensorrt.compute_capabilities]
    return "-".join([backend, options.precision, *targets])
