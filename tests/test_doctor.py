"""The doctor knows which TensorRT versions miscompile DINOv3."""

from __future__ import annotations

import pytest

from segdino_deploy.doctor import diagnose, tensorrt_warning


@pytest.mark.parametrize("version", ["10.3", "10.3.0.26", "10.15.1.29", "8.6.1.6"])
def test_versions_that_miscompile_are_named(version: str) -> None:
    assert "known to miscompile DINOv3" in tensorrt_warning(version)


@pytest.mark.parametrize("version", ["10.6.0", "10.30.1", "11.4.1", ""])
def test_other_versions_are_not(version: str) -> None:
    assert tensorrt_warning(version) == ""


def test_every_finding_that_is_not_ok_says_what_to_do() -> None:
    findings = diagnose()

    assert {"onnxruntime", "openvino", "tensorrt", "tensorrt-rtx", "NVIDIA GPU"} <= {f.component for f in findings}
    assert all(finding.cure for finding in findings if not finding.ok)
