"""The doctor knows which TensorRT versions miscompile DINOv3."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import SimpleNamespace

import pytest

from segdino_deploy import doctor
from segdino_deploy.doctor import Finding, diagnose, tensorrt_warning


@pytest.mark.parametrize("version", ["10.3", "10.3.0.26", "10.15.1.29", "8.6.1.6"])
def test_versions_that_miscompile_are_named(version: str) -> None:
    assert "known to miscompile DINOv3" in tensorrt_warning(version)


@pytest.mark.parametrize("version", ["10.6.0", "10.30.1", "11.4.1", ""])
def test_other_versions_are_not(version: str) -> None:
    assert tensorrt_warning(version) == ""


def test_a_loss_that_was_seen_with_another_model_is_not_called_dinov3s() -> None:
    said = tensorrt_warning("11.1.0.5")

    assert said == (
        "TensorRT 11.1 is known to lose recall in strongly typed fp32, seen with another model; "
        "use another version, or run verify"
    )


@pytest.fixture
def findings(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Finding]]:
    """What is found with exactly these modules of TensorRT and CUDA; a text is the module's version."""

    def diagnosed(gpu: bool = True, distributions: Mapping[str, str] = {}, **installed: str) -> dict[str, Finding]:
        real = doctor.has_module
        ours = {"tensorrt", "tensorrt_rtx"}
        monkeypatch.setattr(doctor, "has_module", lambda name: name in installed if name in ours else real(name))
        monkeypatch.setattr(doctor, "has_package", lambda: "cuda" in installed)
        monkeypatch.setattr(doctor, "has_driver", lambda: gpu)
        monkeypatch.setattr(doctor, "_installed", lambda *names: next(filter(None, map(distributions.get, names)), ""))
        for name in ours & set(installed):
            broken = None if installed[name] == "" else SimpleNamespace(__version__=installed[name])
            monkeypatch.setitem(sys.modules, name, broken)  # None: importing it fails
        return {finding.component: finding for finding in diagnose()}

    return diagnosed


def test_the_version_is_the_librarys_own(findings: Callable[..., dict[str, Finding]]) -> None:
    found = findings(tensorrt="10.3.0", cuda="")["tensorrt"]  # as on a Jetson, where pip knows nothing of it

    assert found.state.startswith("10.3.0: ")
    assert "10.3 is known to miscompile DINOv3" in found.cure


@pytest.mark.parametrize("distribution", ["tensorrt", "tensorrt-cu12", "tensorrt-cu13"])
def test_the_version_of_a_library_that_does_not_load_is_pips(
    distribution: str, findings: Callable[..., dict[str, Finding]]
) -> None:
    found = findings(tensorrt="", cuda="", distributions={distribution: "10.4.0"})["tensorrt"]

    assert found.state.startswith("10.4.0: ")
    assert not found.ok


def test_engines_that_no_package_can_run_are_told_with_the_cure(findings: Callable[..., dict[str, Finding]]) -> None:
    for found in (findings(tensorrt="10.9")["tensorrt"], findings(tensorrt_rtx="1.7")["tensorrt-rtx"]):
        assert not found.ok
        assert found.state.endswith("; cannot run them: neither cuda-python nor pycuda is installed")
        assert found.cure == "pip install cuda-python"
    assert findings(tensorrt="10.9", cuda="")["tensorrt"].ok
    # on a machine that only builds nothing is missing
    assert findings(gpu=False, tensorrt_rtx="1.7")["tensorrt-rtx"].ok


def test_every_finding_that_is_not_ok_says_what_to_do() -> None:
    findings = diagnose()

    assert {"onnxruntime", "openvino", "tensorrt", "tensorrt-rtx", "NVIDIA GPU"} <= {f.component for f in findings}
    assert all(finding.cure for finding in findings if not finding.ok)


def test_what_predict_and_the_servers_need_is_told_with_its_extra(
    findings: Callable[..., dict[str, Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = doctor.has_module
    monkeypatch.setattr(doctor, "has_module", lambda name: name != "ray" and real(name))

    found = findings()

    assert (found["ray"].ok, found["ray"].cure) == (False, "pip install 'segdino-deploy[ray]'")
    assert found["fastapi"].state.endswith("serve")
