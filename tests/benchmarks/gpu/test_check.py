"""Verdicts on answers, and names of failures."""

from __future__ import annotations

import numpy as np
import pytest

from segdino_deploy.benchmarks.gpu.check import compare, is_out_of_memory, kind_of, reason_of
from segdino_deploy.canary import Canary
from segdino_deploy.errors import CheckFailed, MissingComponent, SegdinoDeployError

LOGITS = np.array([[[[-4.0, 2.0], [1.0, 0.5]]]], np.float32)  # [1, 1, 2, 2]
CANARY = Canary(np.zeros((1, 2, 2, 3), np.uint8), {"": LOGITS}, {"": np.array([[[0, 1], [1, 1]]], np.uint8)})


def test_errors_are_relative_to_the_largest_logit_and_masks_count_pixels() -> None:
    """The largest difference is .02 and the largest logit 4: .005. One pixel of four has another class."""
    logits = LOGITS.copy()
    logits[0, 0, 1, 0] += 0.02
    outputs = {"mask": np.array([[[0, 1], [1, 0]]], np.uint8), "logits": logits}

    answer = compare(CANARY, outputs, {"": 0.5}, "int8")

    assert answer.relative_error == pytest.approx(0.005)
    assert answer.mask_agreement == 0.75


def test_the_precision_decides_what_is_wrong() -> None:
    outputs = {"mask": CANARY.mask[""], "logits": LOGITS * np.float32(1.01)}

    assert compare(CANARY, outputs, {"": 0.5}, "fp16").relative_error == pytest.approx(0.01, rel=1e-4)
    with pytest.raises(CheckFailed, match=r"relative logit error 1.00e-02, allowed 1e-04"):
        compare(CANARY, outputs, {"": 0.5}, "fp32")


def test_no_number_is_wrong_in_every_precision() -> None:
    outputs = {"mask": CANARY.mask[""], "logits": LOGITS * np.float32("nan")}

    with pytest.raises(CheckFailed, match="no numbers"):
        compare(CANARY, outputs, {"": 0.5}, "int8")


OutOfMemoryError = type("OutOfMemoryError", (RuntimeError,), {})  # as PyTorch's is called


@pytest.mark.parametrize(
    "error",
    [
        OutOfMemoryError("Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        SegdinoDeployError("cudaMalloc: out of memory (cudaErrorMemoryAllocation), 8.4 MB were asked for"),
        SegdinoDeployError("TensorRT 11.4 cannot build the engine: Error Code 2: OutOfMemory (Requested size was 1)"),
        RuntimeError("[ONNXRuntimeError] : 1 : FAIL : Failed to allocate memory for requested buffer of size 1024"),
        RuntimeError("CUDA failure 2: out of memory ; GPU=0"),
        MemoryError(),
    ],
)
def test_libraries_run_out_of_memory_in_their_own_words(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert kind_of(error) == "memory"


def test_other_failures_are_told_apart() -> None:
    assert kind_of(CheckFailed("its answer is wrong")) == "check"
    assert kind_of(MissingComponent("built for sm_89; this machine has sm_90")) == "failed"
    assert kind_of(ValueError("no memory of a GPU")) == "failed"


def test_reasons_are_one_line_without_the_temporary_folder() -> None:
    bundle = "/tmp/tmpab12/folded.segdino"
    said = f"{bundle}/engines/x.rtx: built for sm_89; build it here: y {bundle} --fp16"

    assert reason_of(MissingComponent(said + "\nmore")) == (
        "folded.segdino/engines/x.rtx: built for sm_89; build it here: y folded.segdino --fp16"
    )
    assert len(reason_of(ValueError("x" * 5000))) == 300
    assert reason_of(RuntimeError()) == "RuntimeError"
