"""What can be refused before anything is made: a call that builds ten engines must not end at the ninth for a typo."""

from __future__ import annotations

from segdino_deploy.benchmarks.data.samples import find_samples
from segdino_deploy.bundle import Bundle
from segdino_deploy.engines.build.backends import BACKENDS
from segdino_deploy.engines.build.options import BuildOptions
from segdino_deploy.engines.calibration.calibrate import stored_calibration
from segdino_deploy.engines.lowering.choose import check_backend
from segdino_deploy.engines.precision.int8.model import check_groups, groups_at
from segdino_deploy.engines.precision.int8.targets import TARGETS
from segdino_deploy.engines.tensorrt.options import check_options
from segdino_deploy.engines.tensorrt.timing_cache import check_timing_cache
from segdino_deploy.errors import InputError
from segdino_deploy.export.graph import load_onnx


def check_build(bundle: Bundle, options: BuildOptions) -> None:
    """InputError for what no build could do, MissingComponent where the backend's library or device is not here.

    `options` name a backend.
    """
    backend = options.backend
    if backend is None or backend not in BACKENDS:
        raise InputError(f"--backend: {backend!r} is none of {', '.join(BACKENDS)}")
    check_backend(backend, options.lowering)
    check_options(options.tensorrt, backend)
    check_timing_cache(options.tensorrt.timing_cache)
    BACKENDS[backend].check()
    BACKENDS[backend].check_options(options, bundle.manifest.model)
    _check_images(bundle, backend, options)


def _check_images(bundle: Bundle, backend: str, options: BuildOptions) -> None:
    """Images that are not there, groups that are not in the model: found now, not after the engines before this one."""
    calibration = options.how_to_calibrate
    if options.budget is not None:
        held_out = options.budget.held_out
        find_samples(held_out.data, held_out.image_dir, held_out.mask_dir)
    if options.precision == "fp32":
        return
    if calibration.names_images:
        _ = calibration.files
    elif options.precision == "int8":
        stored_calibration(bundle, TARGETS[backend], calibration)
    if options.precision == "int8" and options.fp32_groups:
        source = load_onnx(bundle.file(bundle.manifest.onnx["fp32"].file))
        check_groups(options.fp32_groups, groups_at(source, TARGETS[backend]))
