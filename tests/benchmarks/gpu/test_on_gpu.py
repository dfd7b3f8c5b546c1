"""The suite on a real GPU, with whatever is installed there."""

from __future__ import annotations

from pathlib import Path

import pytest

from segdino_deploy.benchmarks.gpu.__main__ import main
from segdino_deploy.benchmarks.gpu.plan import specs_of
from segdino_deploy.benchmarks.gpu.report import render_directory
from segdino_deploy.benchmarks.gpu.store import file_name, read_result
from segdino_deploy.benchmarks.gpu.suite import Suite, read_suite
from segdino_deploy.gpu import Gpu, find_gpu
from segdino_deploy.requirements import has_module
from tests.engines.run.real_gpu import on_gpu

pytestmark = on_gpu

SUITE = """
families = ["v1_convt"]
vits = ["tiny"]
batches = [2]
size = 64
precisions = ["fp32", "fp16", "int8"]
runtimes = ["tensorrt", "tensorrt-rtx", "onnxruntime", "onnxruntime-graph", "torch-eager", "torch-compile"]
exports = ["folded"]
rounds = 5
min_rounds = 5
warmup = 2
"""


def names_that_must_run(gpu: Gpu, suite: Suite) -> set[str]:
    """Of what is installed here; without these the suite would have measured nothing worth having."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    runtimes = ["torch-eager"] if torch.cuda.is_available() else []
    if has_module("tensorrt"):
        runtimes.append("tensorrt")
    if has_module("tensorrt_rtx") and gpu.compute_capability != "9.0":  # for which NVIDIA documents no support
        runtimes.append("tensorrt-rtx")
    return {spec.name for spec in specs_of(suite) if spec.runtime in runtimes and spec.precision == "fp32"}


def test_everybody_is_measured_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "suite.toml"
    path.write_text(SUITE)
    gpu = find_gpu()
    assert gpu is not None

    assert main([str(path), "-o", str(tmp_path / "results")]) == 0

    result = read_result(tmp_path / "results" / file_name(gpu.name))
    (case,) = result.cases
    measured = [entry for group in case.groups for entry in group.contestants]
    refused = [entry.name for entry in case.refusals]
    names = {spec.name for spec in specs_of(read_suite(path))}
    assert {entry.name for entry in measured} | set(refused) == names
    assert len(refused) == len(set(refused))
    assert names_that_must_run(gpu, read_suite(path)) <= {entry.name for entry in measured}, case.refusals
    for entry in measured:
        assert min(entry.device.samples_ms) > 0
        assert len(entry.device.samples_ms) == len(entry.host.samples_ms) == 5
        assert entry.precision == "int8" or entry.mask_agreement > 0.99
    assert gpu.name in render_directory(tmp_path / "results")
