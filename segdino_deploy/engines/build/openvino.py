"""OpenVINO IR, and the inference precision that fits the typed model and this CPU."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segdino_deploy.engines.build.contract import BuildRequest, BuiltEngine
from segdino_deploy.engines.run.contract import Runner
from segdino_deploy.engines.run.openvino import OpenVinoRunner, supports
from segdino_deploy.errors import InputError, SegdinoDeployError, one_line
from segdino_deploy.export.graph import INPUT
from segdino_deploy.manifest import Engine
from segdino_deploy.requirements import require_module

# What may compute each precision. f32 is always among them: many CPUs offer a 16-bit type that is slower than f32, and
# f32 arithmetic on 16-bit weights is never less accurate. The fastest on this CPU is taken (measured) and recorded.
CANDIDATES = {"fp32": ("f32",), "fp16": ("f32", "f16"), "bf16": ("f32", "bf16"), "int8": ("f32", "bf16")}
ROUNDS = 5


def check() -> None:
    """Raises MissingComponent where OpenVINO is not installed."""
    require_module("openvino", "OpenVINO engines", extra="openvino")


def build(request: BuildRequest) -> BuiltEngine:
    """Writes `<name>.xml` and `<name>.bin` in the model's own types.

    Where the precision can be computed in f32 or in a 16-bit type (int8: what surrounds the quantized products), both
    are measured here, interleaved, and the faster one is recorded as the engine's inference precision.
    """
    if request.precision == "int8" and not request.card.batch.is_fixed:
        # OpenVINO 2026.4 gives wrong results for the v2 families here; the same file with a fixed batch is right.
        raise InputError("OpenVINO computes int8 wrongly with a dynamic batch; export with a fixed --batch for it")
    ov = require_module("openvino", "OpenVINO engines", extra="openvino")
    path = request.directory / f"{request.name}.xml"
    core = ov.Core()
    try:
        with tempfile.NamedTemporaryFile(suffix=".onnx", dir=request.directory) as source:
            source.write(request.model.SerializeToString())
            source.flush()
            model = core.read_model(source.name)
        ov.save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        raise SegdinoDeployError(f"OpenVINO {ov.__version__} cannot build it: {one_line(error)}") from error
    receipt: dict[str, Any] = {"operations": len(model.get_ops())}
    candidates = [name for name in CANDIDATES[request.precision] if supports(core, name)]
    measured = _median_ms(request, path, candidates) if len(candidates) > 1 else {candidates[0]: 0.0}
    inference_precision = min(measured, key=measured.__getitem__)
    if len(measured) > 1:
        receipt["median_ms_by_inference_precision"] = measured
    return BuiltEngine(
        path,
        companions=[path.with_suffix(".bin")],
        built_with={"openvino": ov.__version__, "device": core.get_property("CPU", "FULL_DEVICE_NAME")},
        inference_precision=inference_precision,
        receipt=receipt,
    )


def _median_ms(request: BuildRequest, path: Path, precisions: Sequence[str]) -> dict[str, float]:
    """Median milliseconds of the canary per inference precision, one run of each in turn."""
    runners: dict[str, Runner] = {}
    for precision in precisions:
        engine = Engine(
            file=path.name,
            backend="openvino",
            precision=request.precision,
            source="",
            built_with={},
            inference_precision=precision,
        )
        runners[precision] = OpenVinoRunner(request.card, engine, path)
    samples: dict[str, list[float]] = {precision: [] for precision in precisions}
    for round_index in range(ROUNDS + 1):
        for precision, runner in runners.items():
            started = time.perf_counter()
            runner.run({INPUT: request.canary.image})
            if round_index:  # the first round warms up
                samples[precision].append((time.perf_counter() - started) * 1e3)
    return {precision: round(statistics.median(values), 3) for precision, values in samples.items()}
