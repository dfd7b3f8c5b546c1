"""The canary in C++: the rules, tolerances and words of segdino_deploy/evidence.py."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from segdino_deploy import Bundle, export_model
from segdino_deploy.canary import Canary, canary_for
from segdino_deploy.engines.tensorrt.versions import rebuild_command
from segdino_deploy.evidence import (
    TOLERANCE,
    check_heads,
    logit_of,
    logit_scale,
    mask_from_logits,
    mask_from_probability,
    probability_from_logits,
)
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.manifest import PRECISIONS, BatchRange, CanaryRecord, Engine, Manifest, OutputName, Precision
from tests.conftest import GOLDEN
from tests.cpp.building import NativeBuild
from tests.cpp.bundle_probes import BundleProbes, Refused

Float = NDArray[np.float32]
Array = NDArray[np.generic]
Answers = dict[str, Array]


@pytest.fixture(scope="module")
def probes(native_build: NativeBuild) -> BundleProbes:
    return BundleProbes(native_build.probes)


# Masks


@pytest.mark.parametrize("classes", [1, 2, 3, 19, 256])
@pytest.mark.parametrize("pixels", [1, 7, 1023, 1024, 1025, 5000])
def test_masks_are_those_of_python(classes: int, pixels: int, probes: BundleProbes) -> None:
    rng = np.random.default_rng(classes * pixels)
    logits = rng.normal(size=(classes, pixels)).astype(np.float32)
    coarse = np.round(logits)  # many equal values: the first class wins

    for values in (logits, coarse, np.zeros_like(logits)):
        for threshold in (0.5, 0.3, 0.999):
            expected = mask_from_logits(values.reshape(1, classes, 1, pixels), threshold).ravel()
            np.testing.assert_array_equal(probes.mask_from_values(values, logit_of(threshold)), expected)
            probability = probability_from_logits(values.reshape(1, classes, 1, pixels))
            np.testing.assert_array_equal(
                probes.mask_from_values(probability.reshape(classes, pixels), threshold),
                mask_from_probability(probability, threshold).ravel(),
            )


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_masks_of_values_that_are_no_numbers_are_those_of_python(classes: int, probes: BundleProbes) -> None:
    rng = np.random.default_rng(classes)
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, 1e-45], np.float32)
    values = rng.choice(special, (classes, 3000))

    expected = mask_from_logits(values.reshape(1, classes, 1, -1), 0.5).ravel()

    np.testing.assert_array_equal(probes.mask_from_values(values, 0.0), expected)


@pytest.mark.parametrize("threshold", [1e-300, 1e-9, 0.1, 0.5, 0.7310585786300049, 1 - 1e-16])
def test_the_logit_of_a_threshold_is_pythons(threshold: float, probes: BundleProbes) -> None:
    assert probes.logit_of(threshold) == pytest.approx(logit_of(threshold), rel=1e-15, abs=1e-15)


def test_a_value_at_the_threshold_is_background(probes: BundleProbes) -> None:
    threshold = np.float32(0.3)
    values = np.array([[np.nextafter(threshold, np.float32(0)), threshold, np.nextafter(threshold, np.float32(1))]])

    np.testing.assert_array_equal(probes.mask_from_values(values, float(threshold)), [0, 0, 1])


# The check

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


def add_engines(bundle: Bundle) -> None:
    """One of each precision."""

    def engine(precision: Precision) -> Engine:
        file = f"engines/{precision}.onnx"
        return Engine(file=file, backend="onnxruntime", precision=precision, source="model.onnx", built_with={})

    engines = {f"onnxruntime-{precision}": engine(precision) for precision in PRECISIONS}
    bundle.update(
        {engine.file: b"" for engine in engines.values()},
        lambda manifest: manifest.model_copy(update={"engines": engines}),
    )


def with_outputs(bundle: Bundle, outputs: tuple[OutputName, ...], threshold: float | None = None) -> Bundle:
    """The same bundle, as if it had been exported with other outputs."""

    def change(manifest: Manifest) -> Manifest:
        heads = [
            head.model_copy(update={"outputs": list(outputs), "threshold": threshold or head.threshold})
            for head in manifest.model.heads
        ]
        return manifest.model_copy(update={"model": manifest.model.model_copy(update={"heads": heads})})

    bundle.update({}, change)
    return bundle


def answer_with(canary: Canary, bundle: Bundle, change: Callable[[Float], Float]) -> Answers:
    """What an engine gives whose logits are `change` of the reference's."""
    answers: Answers = {}
    for head in bundle.manifest.model.heads:
        logits = change(canary.logits[head.name].copy())
        with np.errstate(invalid="ignore"):
            of_kind = {
                "logits": logits,
                "mask": mask_from_logits(logits, head.threshold),
                "probability": probability_from_logits(logits),
            }
        for kind in head.outputs:
            answers[f"{head.name}.{kind}" if head.name else kind] = of_kind[kind]
    return answers


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


# The file


def replaced(bundle: Bundle, content: bytes) -> Bundle:
    bundle.update({"canary.npz": content}, lambda manifest: manifest)
    return bundle


def arrays_of(bundle: Bundle) -> Answers:
    with np.load(bundle.file("canary.npz")) as arrays:
        return dict(arrays)


def packed(arrays: Answers) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


@pytest.fixture
def private(bundles: dict[str, Path], tmp_path: Path) -> Bundle:
    shutil.copytree(bundles["one class"], tmp_path / "b.segdino")
    return Bundle.open(tmp_path / "b.segdino")


CHANGES: dict[str, Callable[[Answers], Answers]] = {
    "no image": lambda arrays: {name: array for name, array in arrays.items() if name != "image"},
    "no logits": lambda arrays: {name: array for name, array in arrays.items() if name != "logits"},
    "another size": lambda arrays: arrays | {"image": arrays["image"][:, :16]},
    "another batch": lambda arrays: {name: np.repeat(array, 2, axis=0) for name, array in arrays.items()},
    "other classes": lambda arrays: arrays | {"logits": np.repeat(arrays["logits"], 2, axis=1)},
    "float image": lambda arrays: arrays | {"image": arrays["image"].astype(np.float32)},
    "float64 logits": lambda arrays: arrays | {"logits": arrays["logits"].astype(np.float64)},
    "not finite": lambda arrays: arrays | {"logits": arrays["logits"] * np.float32(np.nan)},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_canary_of_another_model_is_none(change: str, private: Bundle, probes: BundleProbes) -> None:
    arrays = arrays_of(private)
    replaced(private, packed(CHANGES[change](arrays)))

    with pytest.raises(Refused) as refused:
        probes.check_canary(private.path, "onnxruntime-fp32", [arrays["mask"], arrays["logits"]], arrays["image"].size)

    assert str(refused.value) == f"{private.file('canary.npz')}: not a canary; export the checkpoint again"
    assert refused.value.kind == "InputError"
    assert refused.value.got


def test_what_is_no_archive_is_no_canary(private: Bundle, probes: BundleProbes) -> None:
    replaced(private, b"not an archive")

    with pytest.raises(Refused, match="not a canary; export the checkpoint again") as refused:
        probes.check_canary(private.path, "onnxruntime-fp32", [], 0)

    assert "it is no archive" in refused.value.got


def test_a_changed_canary_is_not_believed(private: Bundle, probes: BundleProbes) -> None:
    """Even where the caller compared the engine's files alone."""
    arrays = arrays_of(private)
    private.file("canary.npz").write_bytes(packed({**arrays, "logits": arrays["logits"] + np.float32(1)}))

    with pytest.raises(Refused, match=r"canary\.npz was changed since it was written") as refused:
        probes.check_canary(private.path, "onnxruntime-fp32", [], 0)

    assert refused.value.kind == "InputError"


def test_a_canary_that_nobody_hashed_is_not_believed(private: Bundle, probes: BundleProbes) -> None:
    private.update(
        {}, lambda m: m.model_copy(update={"files": {k: v for k, v in m.files.items() if k != "canary.npz"}})
    )

    with pytest.raises(Refused, match=r"canary\.npz has no sha256 in the manifest"):
        probes.check_canary(private.path, "onnxruntime-fp32", [], 0)


def test_engines_of_another_onnx_file_have_its_own_canary(private: Bundle, probes: BundleProbes) -> None:
    """As int8 engines, whose model is compared with itself."""
    arrays = arrays_of(private)
    other = {**arrays, "logits": -arrays["logits"]}
    model = private.manifest.onnx["fp32"].model_copy(
        update={"file": "model.int8.onnx", "precision": "int8", "canary": "canary.int8.npz"}
    )
    engine = private.manifest.engines["onnxruntime-int8"].model_copy(update={"source": "model.int8.onnx"})
    private.update(
        {"canary.int8.npz": packed(other), "model.int8.onnx": b""},
        lambda m: m.model_copy(
            update={"onnx": {**m.onnx, "int8": model}, "engines": {**m.engines, "onnxruntime-int8": engine}}
        ),
    )
    answers = [mask_from_logits(np.asarray(other["logits"], np.float32), 0.5), other["logits"]]

    probes.check_canary(private.path, "onnxruntime-int8", answers, arrays["image"].size)
    with pytest.raises(Refused, match="the canary fails on onnxruntime-fp32"):
        probes.check_canary(private.path, "onnxruntime-fp32", answers, arrays["image"].size)
