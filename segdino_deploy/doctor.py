"""What this machine can build and run, and what to install for the rest."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from segdino_deploy.errors import SegdinoDeployError
from segdino_deploy.gpu import find_gpu, has_driver
from segdino_deploy.machine import usable_threads
from segdino_deploy.requirements import has_module, install_line

# TensorRT versions that are known to miscompile DINOv3 models (NVIDIA/TensorRT issues 4558, 4723, 4742, 4333, 4813).
KNOWN_BAD_TENSORRT = {
    "8.6.1": "ViT-L wrong",
    "10.3": "ViT-B and ViT-L wrong",
    "10.4": "fp32 wrong (cosine .018), fp16 NaN",
    "10.7": "the Attention operator wrong",
    "10.15": "ViT-L wrong",
    "11.1": "recall loss in strongly typed fp32 (another model)",
}


@dataclass(frozen=True)
class Finding:
    """One line of the report. `cure` is empty where nothing is missing."""

    component: str
    state: str
    ok: bool
    cure: str = ""


def diagnose() -> list[Finding]:
    """All findings, core first. Imports nothing heavy but the backends that are installed."""
    findings = [
        Finding(
            "machine", f"{platform.machine()}, {usable_threads()} threads, Python {platform.python_version()}", True
        )
    ]
    findings.append(
        _library("export (PyTorch)", "torch", "torch", "export", "loads checkpoints, exports, is the reference")
    )
    findings.append(_library("onnxruntime", "onnxruntime", "onnxruntime", "", "builds and runs: fp32, fp16, int8"))
    findings.append(_openvino())
    findings.append(
        _library(
            "tensorrt-rtx", "tensorrt_rtx", "tensorrt-rtx-cu13", "tensorrt-rtx", "builds ahead of time, no GPU needed"
        )
    )
    findings.append(_tensorrt())
    findings.append(_gpu())
    return findings


def _installed(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _library(component: str, module: str, distribution: str, extra: str, use: str) -> Finding:
    if not has_module(module):
        return Finding(component, "not installed", False, install_line(extra))
    return Finding(component, f"{_installed(distribution)}: {use}".strip(": "), True)


def _openvino() -> Finding:
    finding = _library("openvino", "openvino", "openvino", "openvino", "builds and runs")
    if not finding.ok:
        return finding
    try:
        import openvino as ov

        from segdino_deploy.engines.run.openvino import CAPABILITY, supports

        core = ov.Core()
        types = ", ".join(name for name in CAPABILITY if supports(core, name))
    except (RuntimeError, ImportError, SegdinoDeployError) as error:
        return Finding("openvino", f"installed, does not load ({error})", False, install_line("openvino"))
    return Finding("openvino", f"{finding.state}; this CPU computes in {types}", True)


def _tensorrt() -> Finding:
    finding = _library("tensorrt", "tensorrt", "tensorrt", "tensorrt", "builds on the GPU it runs on")
    if not finding.ok:
        return finding
    warning = tensorrt_warning(_installed("tensorrt"))
    return Finding("tensorrt", finding.state, not warning, warning)


def tensorrt_warning(installed: str) -> str:
    """What is known to be wrong with this TensorRT version for DINOv3 models; empty where nothing is."""
    for bad, what in KNOWN_BAD_TENSORRT.items():
        if installed == bad or installed.startswith(bad + "."):
            return f"TensorRT {bad} is known to miscompile DINOv3: {what}; use another version and run verify"
    return ""


def _gpu() -> Finding:
    if not has_driver():
        return Finding(
            "NVIDIA GPU", "none found (no CUDA driver)", False, "engines for GPUs run on a machine that has one"
        )
    gpu = find_gpu()
    if gpu is None:
        return Finding("NVIDIA GPU", "driver found, but no GPU answers", False, "check nvidia-smi")
    state = f"{gpu.count} x {gpu.name}, compute capability {gpu.compute_capability}, driver for CUDA {gpu.cuda}"
    return Finding("NVIDIA GPU", state, True)
