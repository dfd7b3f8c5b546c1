"""Runners: one contract for all backends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from segdino_deploy import Bundle, build_engine, export_model, open_engine
from segdino_deploy.engines.build import BuildOptions
from segdino_deploy.engines.run import Runner, open_in_bundle, run_padded
from segdino_deploy.engines.run.torch import TorchRunner
from segdino_deploy.errors import InputError, MissingComponent
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.manifest import BatchRange
from tests.conftest import GOLDEN, read_golden

Copy = Callable[..., Bundle]
BACKENDS = ("torch", "onnxruntime", "openvino")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """v2 with three classes, batch 2 to 3, engines of both CPU backends."""
    path = tmp_path_factory.mktemp("run") / "b.segdino"
    options = ExportOptions(input_size=(96, 64), batch=BatchRange(min=2, opt=2, max=3), outputs=("mask", "logits"))
    bundle = export_model(GOLDEN / "v2_3class_sat.pth", path, options)
    for backend in BACKENDS[1:]:
        build_engine(bundle, BuildOptions("fp32", backend))
    return bundle


@pytest.fixture(params=BACKENDS)
def runner(request: pytest.FixtureRequest, bundle: Bundle) -> Iterator[Runner]:
    if request.param == "torch":
        opened: Runner = TorchRunner(bundle.manifest.model, [GOLDEN / "v2_3class_sat.pth"])
    else:
        opened = open_in_bundle(bundle, bundle.manifest.engines[f"{request.param}-fp32"])
    with opened:
        yield opened


def test_all_backends_give_upstreams_logits_and_say_what_they_are(runner: Runner) -> None:
    golden = read_golden("v2_3class_sat")

    outputs = runner.run({"image": golden.image})

    assert np.abs(outputs["logits"] - golden.logits).max() < 1e-4
    assert outputs["mask"].dtype == np.uint8
    sure = np.sort(golden.logits, axis=1)
    decided = sure[:, -1] - sure[:, -2] > 1e-3
    np.testing.assert_array_equal(outputs["mask"][decided], golden.logits.argmax(axis=1)[decided])
    assert (runner.precision, runner.input_size, runner.device) == ("fp32", (96, 64), "CPU")


WRONG_INPUTS = {
    "exactly one, named 'image'": {"pixels": np.zeros((2, 96, 64, 3), np.uint8)},
    "image is float32": {"image": np.zeros((2, 96, 64, 3), np.float32)},
    r"image has shape \[2, 3, 96, 64\]: \[N, 96, 64, 3\]": {"image": np.zeros((2, 3, 96, 64), np.uint8)},
    "batch of 4: this model takes 2 to 3": {"image": np.zeros((4, 96, 64, 3), np.uint8)},
    "image is list": {"image": [[1]]},
}


@pytest.mark.parametrize("message", list(WRONG_INPUTS))
def test_a_wrong_input_is_one_clear_error_and_the_runner_stays_usable(message: str, runner: Runner) -> None:
    with pytest.raises(InputError, match=message):
        runner.run(WRONG_INPUTS[message])  # type: ignore[arg-type]

    assert runner.run({"image": np.zeros((2, 96, 64, 3), np.uint8)})["mask"].shape == (2, 96, 64)


def test_outputs_of_one_run_survive_the_next(runner: Runner) -> None:
    golden = read_golden("v2_3class_sat")
    first = runner.run({"image": golden.image})
    kept = first["logits"].copy()

    runner.run({"image": golden.image[::-1]})

    np.testing.assert_array_equal(first["logits"], kept)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_any_number_of_images_is_split_and_filled_up(count: int, runner: Runner) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 96, 64, 3), dtype=np.uint8)
    whole = run_padded(runner, images)["logits"]

    part = run_padded(runner, images[:count])["logits"]

    assert part.shape[0] == count
    np.testing.assert_allclose(part, whole[:count], atol=1e-5)


def test_reference_refuses_another_checkpoint(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="not the file this bundle was exported from"):
        TorchRunner(bundle.manifest.model, [GOLDEN / "v2.pth"])


def test_an_engine_asked_for_by_name_is_never_replaced(bundle: Bundle) -> None:
    with open_engine(bundle.path, backend="onnxruntime") as opened:
        assert opened.backend == "onnxruntime"
    with pytest.raises(InputError, match=r"no fp16 engine .*build-engine .* --fp16"):
        open_engine(bundle.path, precision="fp16")
    with pytest.raises(InputError, match=r"no tensorrt engine"):
        open_engine(bundle.path, backend="tensorrt")
    file = bundle.file("engines/openvino-fp32.xml")
    with pytest.raises(
        InputError, match=r"fp32\.xml: holds openvino fp32, while onnxruntime int8 was asked for; name the"
    ):
        open_engine(file, backend="onnxruntime", precision="int8")


def test_engine_file_outside_a_bundle_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    lone = tmp_path / "lone.onnx"
    lone.write_bytes(bundle.file("engines/onnxruntime-fp32.onnx").read_bytes())

    with pytest.raises(InputError, match="opened inside their bundle"):
        open_engine(lone)


def test_openvino_runs_in_the_precision_of_the_receipt(bundle: Bundle) -> None:
    engine = bundle.manifest.engines["openvino-fp32"]
    with open_in_bundle(bundle, engine) as opened:
        hint = opened.compiled.get_property("INFERENCE_PRECISION_HINT")  # type: ignore[attr-defined]

    assert engine.inference_precision == "f32"
    assert hint.to_string() == "f32"


def test_an_inference_precision_this_cpu_lacks_is_not_emulated(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = bundle.manifest.engines["openvino-fp32"].model_copy(update={"inference_precision": "bf16"})
    monkeypatch.setattr("segdino_deploy.engines.run.openvino.supports", lambda _, name: name == "f32")

    with pytest.raises(MissingComponent, match="does not have; build it here"):
        open_in_bundle(bundle, engine)
