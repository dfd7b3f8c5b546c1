"""What this machine can build and run, and what to install for the rest."""

from __future__ import annotations

import importlib
import platform
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from segdino_deploy.engines.run.device_memory import has_package
from segdino_deploy.errors import SegdinoDeployError, one_line
from segdino_deploy.gpu import find_gpu, has_driver
from segdino_deploy.machine import usable_threads
from segdino_deploy.requirements import has_module, install_line

# What is known of TensorRT versions (NVIDIA/TensorRT issues 4558, 4723, 4742, 4333, 4813).
KNOWN_BAD_TENSORRT = {
    "8.6.1": "miscompile DINOv3: ViT-L wrong",
    "10.3": "miscompile DINOv3: ViT-B and ViT-L wrong",
    "10.4": "miscompile DINOv3: fp32 wrong (cosine .018), fp16 NaN",
    "10.7": "miscompile DINOv3: the Attention operator wrong",
    "10.15": "miscompile DINOv3: ViT-L wrong",
    "11.1": "lose recall in strongly typed fp32, seen with another model",
}
OPTIONAL = (  # component, module, distribution, extra, use
    ("pyvips", "pyvips", "pyvips", "large", "predict --mode tile, of large TIFF, PNG and JPEG"),
    ("pyarrow", "pyarrow", "pyarrow", "table", "predict --table FILE.parquet"),
    ("ray", "ray", "ray", "ray", "predict --ray"),
    ("tritonclient", "tritonclient", "tritonclient", "triton", "triton, predict --triton"),
    ("fastapi", "fastapi", "fastapi", "serve", "serve"),
)
TENSORRT_DISTRIBUTIONS = ("tensorrt", "tensorrt-cu12", "tensorrt-cu13")  # an extra package may hold the module


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
    findings.append(_tensorrt_rtx())
    findings.append(_tensorrt())
    findings.append(_gpu())
    findings += [_library(*optional) for optional in OPTIONAL]
    return findings


def _installed(*distributions: str) -> str:
    """The version of the first one that is installed; empty where none is."""
    for name in distributions:
        with suppress(PackageNotFoundError):
            return version(name)
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


def _tensorrt_rtx() -> Finding:
    finding = _library(
        "tensorrt-rtx", "tensorrt_rtx", "tensorrt-rtx-cu13", "tensorrt-rtx", "builds ahead of time, no GPU needed"
    )
    return _with_memory(finding) if finding.ok and has_driver() else finding


def _tensorrt() -> Finding:
    if not has_module("tensorrt"):
        return Finding("tensorrt", "not installed", False, install_line("tensorrt"))
    found, failure = _installed(*TENSORRT_DISTRIBUTIONS), ""
    try:
        found = str(importlib.import_module("tensorrt").__version__)
    except Exception as error:  # a broken shared library raises whatever it likes
        failure = f"installed, does not load ({one_line(error)})"
    state = f"{found}: {failure or 'builds on the GPU it runs on'}".strip(": ")
    cure = tensorrt_warning(found) or (install_line("tensorrt") if failure else "")
    return Finding("tensorrt", state, False, cure) if cure else _with_memory(Finding("tensorrt", state, True))


def _with_memory(finding: Finding) -> Finding:
    """Engines of TensorRT run on memory that another package gives."""
    if has_package():
        return finding
    state = f"{finding.state}; cannot run them: neither cuda-python nor pycuda is installed"
    return Finding(finding.component, state, False, "pip install cuda-python")


def tensorrt_warning(installed: str) -> str:
    """What is known to be wrong with this TensorRT version, and the cure; empty where nothing is."""
    for bad, what in KNOWN_BAD_TENSORRT.items():
        if installed == bad or installed.startswith(bad + "."):
            return f"TensorRT {bad} is known to {what}; use another version, or run verify"
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
