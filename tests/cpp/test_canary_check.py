"""The canary in C++: an engine's answers are judged by the rules, tolerances and words of evidence.py."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from segdino_deploy import Bundle, export_model
from segdino_deploy.canary import canary_for
from segdino_deploy.engines.tensorrt.versions import rebuild_command
from segdino_deploy.evidence import TOLERANCE, check_heads, logit_of, logit_scale
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.manifest import PRECISIONS, BatchRange, CanaryRecord, OutputName, Precision
from tests.conftest import GOLDEN
from tests.cpp.bundle_probes import BundleProbes, Refused
from tests.cpp.canary_cases import Answers, Float, add_engines, answer_with, with_outputs

MODELS = ("one class", "joint", "logits alone")


@pytest.fixture(scope="module")
def bundles(exported: Callable[[str], Path], joint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bundles whose engines hold nothing: the probe answers for them."""
    directory = tmp_path_factory.mktemp("canary")
    options = ExportOptions(input_size=(32, 48), batch=BatchRange(min=2, opt=2, max=3), outputs=("logits",))
    export_model(GOLDEN / "v2_3class_sat.pth", directory / "logits alone", options)
    shutil.copytree(exported("v1_convt"), directory / "one class")
    shutil.copytree(joint, directory / "joint")
    for name in MODELS:
        add_engines(Bundle.open(directory / name))
    return {name: directory / name for name in MODELS}


def verdict_of(probes: BundleProbes, bundle: Bundle, precision: Precision, answers: Answers) -> str:
    """What C++ says is wrong; empty where it says that all is right."""
    canary = canary_for(bundle, "model.onnx")
    name = f"onnxruntime-{precision}"
    outputs = [answers[tensor] for tensor in bundle.manifest.model.output_names]
    try:
        seen = probes.check_canary(bundle.path, name, outputs, canary.image.size)
    except Refused as refused:
        assert refused.kind == "CheckFailed"
        assert refused.expected
        assert refused.got
        before = f"{bundle.path}: the canary fails on {name}: "
        command = rebuild_command(bundle.manifest.engines[name], bundle.path)
        after = f"; build the engine again: {command}"
        assert str(refused).startswith(before)
        assert str(refused).endswith(after)
        return str(refused)[len(before) : -len(after)]
    assert seen == canary.image.tobytes()
    return ""


def python_record(bundle: Bundle, precision: Precision, answers: Answers) -> CanaryRecord:
    with np.errstate(invalid="ignore"):
        canary = canary_for(bundle, "model.onnx")
        return check_heads(canary.logits, answers, bundle.manifest.model.thresholds, precision)


def assert_as_python(probes: BundleProbes, bundle: Bundle, precision: Precision, answers: Answers) -> CanaryRecord:
    record = python_record(bundle, precision, answers)
    assert verdict_of(probes, bundle, precision, answers) == record.detail
    return record


def shifted(amount: float) -> Callable[[Float], Float]:
    """Every logit by a share of the largest one, alternately up and down."""

    def change(logits: Float) -> Float:
        signs = np.where(np.arange(logits.size).reshape(logits.shape) % 2, 1, -1)
        return np.asarray(logits + signs * np.float32(amount * logit_scale(logits)), np.float32)

    return change


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_error_within_the_tolerance_passes_and_one_beyond_it_fails(
    precision: Precision, model: str, bundles: dict[str, Path], probes: BundleProbes
) -> None:
    bundle = Bundle.open(bundles[model])
    canary = canary_for(bundle, "model.onnx")
    passed = []
    for share in (0, 0.5, 0.99, 1.01, 3, 100):
        answers = answer_with(canary, bundle, shifted(share * TOLERANCE[precision]))
        passed.append(assert_as_python(probes, bundle, precision, answers).passed)

    assert passed[0] is True
    assert passed[3:] == [False, False, False]


@pytest.mark.parametrize("outputs", [("mask",), ("logits",), ("probability",), ("probability", "mask", "logits")])
@pytest.mark.parametrize("model", ["one class", "joint"])
def test_whatever_a_model_gives_is_judged_as_in_python(
    model: str, outputs: tuple[OutputName, ...], bundles: dict[str, Path], tmp_path: Path, probes: BundleProbes
) -> None:
    shutil.copytree(bundles[model], tmp_path / "b")
    bundle = with_outputs(Bundle.open(tmp_path / "b"), outputs)
    canary = canary_for(bundle, "model.onnx")
    rng = np.random.default_rng(0)
    verdicts = []
    for noise in (0, 1e-5, 1e-3, 0.1, 3):
        answers = answer_with(
            canary,
            bundle,
            lambda logits, noise=noise: logits + noise * rng.normal(size=logits.shape).astype(np.float32),
        )
        for precision in PRECISIONS:
            verdicts.append(assert_as_python(probes, bundle, precision, answers).passed)

    assert True in verdicts
    assert False in verdicts


@pytest.mark.parametrize("model", ["one class", "joint"])
def test_every_rule_has_its_words(model: str, bundles: dict[str, Path], probes: BundleProbes) -> None:
    bundle = Bundle.open(bundles[model])
    canary = canary_for(bundle, "model.onnx")
    right = answer_with(canary, bundle, lambda logits: logits)
    heads = bundle.manifest.model.heads
    last = heads[-1].name
    mask, logits = (f"{last}.{kind}" if last else kind for kind in ("mask", "logits"))
    margin = np.abs(canary.logits[last] - logit_of(0.5)).max(axis=1)
    sure, unsure = np.unravel_index(margin.argmax(), margin.shape), np.unravel_index(margin.argmin(), margin.shape)

    def with_mask(change: Callable[[NDArray[np.generic]], None]) -> Answers:
        answers = {name: array.copy() for name, array in right.items()}
        change(answers[mask])
        return answers

    def flip_all(array: NDArray[np.generic]) -> None:
        array[...] = 255

    def flip(where: tuple[np.intp, ...]) -> Callable[[NDArray[np.generic]], None]:
        def change(array: NDArray[np.generic]) -> None:
            array[where] = array[where] + 1

        return change

    details = {
        "sure pixel": assert_as_python(probes, bundle, "fp32", with_mask(flip(sure))).detail,
        "all pixels": assert_as_python(probes, bundle, "int8", with_mask(flip_all)).detail,
        "logits": assert_as_python(probes, bundle, "bf16", {**right, logits: right[logits] + np.float32(1)}).detail,
        "all": assert_as_python(probes, bundle, "fp16", {**with_mask(flip_all), logits: right[logits] * 2}).detail,
    }
    assert "changed class" in details["sure pixel"]
    assert "only 0.00% of the pixels keep their class" in details["all pixels"]
    assert "relative logit error" in details["logits"]
    assert details["all"].count("; ") == 2
    if model == "joint":
        assert all(detail.startswith(f"{last}: ") for detail in details.values())
    if model == "one class":
        assert_as_python(probes, bundle, "fp32", with_mask(flip(unsure)))


def test_several_wrong_heads_are_all_told(bundles: dict[str, Path], probes: BundleProbes) -> None:
    bundle = Bundle.open(bundles["joint"])
    answers = answer_with(canary_for(bundle, "model.onnx"), bundle, lambda logits: -logits)

    detail = assert_as_python(probes, bundle, "int8", answers).detail

    assert "polyp: " in detail
    assert "; tissue: " in detail


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("model", MODELS)
def test_a_logit_that_is_no_number_fails(
    model: str, value: float, bundles: dict[str, Path], probes: BundleProbes
) -> None:
    bundle = Bundle.open(bundles[model])

    def spoil(logits: Float) -> Float:
        logits[-1, -1, -1, -1] = value
        return logits

    answers = answer_with(canary_for(bundle, "model.onnx"), bundle, spoil)

    assert "relative logit error inf" in assert_as_python(probes, bundle, "int8", answers).detail


@pytest.mark.parametrize("model", ["one class", "joint"])
def test_a_probability_that_is_no_number_fails(
    model: str, bundles: dict[str, Path], tmp_path: Path, probes: BundleProbes
) -> None:
    """Stricter than Python, which may read it as background and be content."""
    shutil.copytree(bundles[model], tmp_path / "b")
    bundle = with_outputs(Bundle.open(tmp_path / "b"), ("probability",))
    answers = answer_with(canary_for(bundle, "model.onnx"), bundle, lambda logits: logits)
    for name, array in answers.items():
        answers[name] = np.full_like(array, np.nan)

    assert "only 0.00% of the pixels keep their class" in verdict_of(probes, bundle, "int8", answers)


@pytest.mark.parametrize("threshold", [0.01, 0.3, 0.9])
def test_the_heads_threshold_counts(
    threshold: float, bundles: dict[str, Path], tmp_path: Path, probes: BundleProbes
) -> None:
    shutil.copytree(bundles["one class"], tmp_path / "b")
    bundle = with_outputs(Bundle.open(tmp_path / "b"), ("mask",), threshold)
    canary = canary_for(bundle, "model.onnx")

    for noise in (0.0, 0.01, 0.5):
        assert_as_python(probes, bundle, "fp16", answer_with(canary, bundle, shifted(noise)))
