"""PyTorch and ONNX Runtime as contestants, on the stand-in; what they would need on a GPU."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segdino_deploy.benchmarks.gpu.clock import CudaClock
from segdino_deploy.benchmarks.gpu.contestants import onnxruntime as ort_contestant
from segdino_deploy.benchmarks.gpu.contestants import torch as torch_contestant
from segdino_deploy.benchmarks.gpu.contestants.torch import TorchContestant
from segdino_deploy.benchmarks.gpu.device import Device, open_device
from segdino_deploy.benchmarks.gpu.models import CaseModels
from segdino_deploy.benchmarks.gpu.plan import Case
from segdino_deploy.benchmarks.gpu.suite import ExportName
from segdino_deploy.errors import MissingComponent, SegdinoDeployError
from segdino_deploy.gpu import Gpu, has_gpu
from segdino_deploy.manifest import Precision
from tests.benchmarks.gpu.simulated import TickingGpu
from tests.test_bare_environment import bare

IMAGE = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)


class Grey(nn.Module):
    """`[N, H, W, 3]` to (mask, logits) as every contestant's module."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1, bias=False)
        nn.init.constant_(self.linear.weight, 1 / 3)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.linear(image.float()).permute(0, 3, 1, 2).float() - 100  # [N, 1, H, W]
        return (logits[:, 0] > 0).to(torch.uint8), logits


class Branches(Grey):
    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        mask, logits = super().forward(image)
        return (mask, logits) if float(logits.sum()) > 0 else (mask, -logits)  # which no graph can hold


@pytest.fixture
def device() -> Device:
    return open_device("cpu")


def _expected(image: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    logits = image.astype(np.float32).mean(axis=3)[:, None] - 100
    return {"mask": (logits[:, 0] > 0).astype(np.uint8), "logits": logits}


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("fp16", 0.2), ("bf16", 1.5)])
def test_both_ways_compute_in_the_precision(device: Device, precision: Precision, tolerance: float) -> None:
    """Of values up to 255 fp16 keeps steps of 1/8, bf16 of 1."""
    contestant = TorchContestant(Grey(), precision, device, IMAGE)
    contestant.settle()
    other = 255 - IMAGE

    errors = [
        np.abs(outputs["logits"] - _expected(image)["logits"]).max()
        for outputs, image in (
            (contestant.device_answer(), IMAGE),
            (contestant.run(other), other),
            (contestant.device_answer(), IMAGE),
        )
    ]
    contestant.close()

    assert max(errors) < tolerance
    assert (max(errors) > 1e-4) == (precision != "fp32")
    assert contestant.lead_ms == 0.0


def test_results_are_the_callers_own(device: Device) -> None:
    contestant = TorchContestant(Grey(), "fp32", device, IMAGE)

    first = contestant.run(IMAGE)
    kept = first["logits"].copy()
    contestant.run(255 - IMAGE)

    np.testing.assert_array_equal(first["logits"], kept)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the processor")
def test_compiled_code_answers_as_eager(device: Device) -> None:
    contestant = TorchContestant(Grey(), "fp32", device, IMAGE, "reduce-overhead")
    contestant.settle()

    error = np.abs(np.asarray(contestant.device_answer()["logits"], np.float32) - _expected(IMAGE)["logits"]).max()
    assert error < 1e-4
    np.testing.assert_array_equal(contestant.run(IMAGE)["mask"], _expected(IMAGE)["mask"])
    torch_contestant.forget_compiled()


def test_what_cannot_be_compiled_as_a_whole_is_an_error_not_eager(device: Device) -> None:
    contestant = TorchContestant(Branches(), "fp32", device, IMAGE, "default")

    with pytest.raises(Exception, match=r"(?i)graph"):
        contestant.settle()
    torch_contestant.forget_compiled()


def test_pytorch_computes_fp32_without_tf32(device: Device) -> None:
    torch.backends.cudnn.allow_tf32 = True

    TorchContestant(Grey(), "fp32", device, IMAGE)

    assert not torch.backends.cudnn.allow_tf32
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("export", ["folded", "plain"])
def test_a_module_that_is_moved_leaves_nothing_behind(export: ExportName, tmp_path: Path) -> None:
    """On PyTorch's meta device a tensor that stayed on the processor would be an error, as on a GPU."""
    models = CaseModels(Case("v2", "tiny", 32, 2, 0), tmp_path)

    module = models.module(export).to("meta")
    mask, logits = module(torch.zeros(2, 32, 32, 3, dtype=torch.uint8, device="meta"))

    assert (mask.dtype, mask.shape) == (torch.uint8, (2, 32, 32))
    assert (logits.dtype, logits.shape) == (torch.float32, (2, 1, 32, 32))
    assert {parameter.device.type for parameter in models.model.parameters()} == {"cpu"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this PyTorch reaches a GPU")
def test_a_pytorch_without_cuda_is_missing_on_a_gpu(device: Device) -> None:
    torch_contestant.check(device)

    with pytest.raises(MissingComponent, match=r"torch .* reaches no GPU here; install"):
        torch_contestant.check(Device("cuda", device.gpu, device.clock, None))


def test_an_onnxruntime_without_cuda_is_missing_on_a_gpu(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])

    ort_contestant.check(device, captures=False)
    with pytest.raises(MissingComponent, match=r"has no CUDA provider; .*onnxruntime-gpu"):
        ort_contestant.check(Device("cuda", device.gpu, device.clock, None), captures=False)
    with pytest.raises(MissingComponent, match="CUDA graphs need a GPU"):
        ort_contestant.check(device, captures=True)


def test_the_cuda_provider_is_told_our_stream_and_no_tf32() -> None:
    options = ort_contestant.provider_options(1234, captures=True)

    assert (options["user_compute_stream"], options["use_tf32"], options["enable_cuda_graph"]) == ("1234", "0", "1")
    assert ort_contestant.provider_options(1, captures=False)["enable_cuda_graph"] == "0"


class FakeSession:
    """Takes the CUDA provider, unless it is strict and a node has no kernel, or CUDA's libraries are not found."""

    lacks_kernel = finds_cuda = True

    def __init__(self, _model: str, options: Any, *, providers: list[Any], enable_fallback: int) -> None:
        assert enable_fallback == 0
        self.providers = [name if isinstance(name, str) else name[0] for name in providers]
        is_strict = (
            options.get_session_config_entry(ort_contestant.NO_FALLBACK) == "1" if len(providers) == 1 else False
        )
        if self.lacks_kernel and is_strict:
            raise RuntimeError(f"some nodes, but {ort_contestant.FELL_BACK} by the user.")

    def get_providers(self) -> list[str]:
        return self.providers if self.finds_cuda else ["CPUExecutionProvider"]


@pytest.mark.parametrize("lacks_kernel", [False, True])
def test_nodes_on_the_processor_are_told(lacks_kernel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "InferenceSession", FakeSession)
    monkeypatch.setattr(FakeSession, "lacks_kernel", lacks_kernel)

    _, notes = ort_contestant.open_on_gpu(Path("model.onnx"), 1, captures=False)

    assert len(notes) == lacks_kernel


def test_a_session_that_fell_back_to_the_processor_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "InferenceSession", FakeSession)
    monkeypatch.setattr(FakeSession, "finds_cuda", False)

    with pytest.raises(SegdinoDeployError, match="cannot load its CUDA provider; install"):
        ort_contestant.open_on_gpu(Path("model.onnx"), 1, captures=False)


def test_a_device_that_refuses_a_stream_works_no_more() -> None:
    gpu = TickingGpu()
    device = Device("cuda", Gpu("NVIDIA L4", "8.9", "13.0", 1, 24 * 2**30), CudaClock(gpu, 256), gpu)

    assert device.works()
    gpu.fails_at = len(gpu.log) + 1
    assert not device.works()
    assert not gpu.streams


@pytest.mark.skipif(has_gpu(), reason="this machine has a GPU")
def test_without_a_gpu_the_script_ends_with_one_line_and_code_3(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    command = [sys.executable, str(root / "benchmarks" / "gpu.py"), str(root / "benchmarks" / "gpu.toml")]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(root)})

    assert done.returncode == 3
    assert done.stderr == "error: the GPU suite: no usable NVIDIA GPU here; run it where nvidia-smi shows one\n"
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


def test_without_pytorch_it_says_what_to_install() -> None:
    suite = Path(__file__).parents[3] / "benchmarks" / "gpu.toml"

    done = bare("\nfrom segdino_deploy.benchmarks.gpu.__main__ import main\nsys.exit(main(sys.argv[1:]))", str(suite))

    assert done.returncode == 3
    assert done.stderr == ("error: the GPU suite: torch is not installed; pip install 'segdino-deploy[export]'\n")
