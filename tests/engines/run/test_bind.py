"""The engine alone, its image in its own memory: it computes what `run` computes, and neither disturbs the other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from segdino_deploy import Bundle, build_engine, export_model
from segdino_deploy.engines.build import BuildOptions
from segdino_deploy.engines.lowering.choose import NONE
from segdino_deploy.engines.run import Runner, open_in_bundle
from segdino_deploy.engines.run.contract import Array
from segdino_deploy.engines.run.torch import TorchRunner
from segdino_deploy.errors import InputError, SegdinoDeployError
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.manifest import BatchRange
from tests.conftest import GOLDEN, read_golden
from tests.engines.run.model import make_card, make_images

NAME = "v2_3class_sat"
BACKENDS = ("torch", "onnxruntime", "openvino")
PATIENCE = 120.0  # seconds


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Three classes, batch 1 to 3, engines of both CPU backends."""
    path = tmp_path_factory.mktemp("bind") / "b.segdino"
    options = ExportOptions(
        input_size=read_golden(NAME).input_hw, batch=BatchRange(min=1, opt=2, max=3), outputs=("mask", "logits")
    )
    made = export_model(GOLDEN / f"{NAME}.pth", path, options)
    for backend in BACKENDS[1:]:
        build_engine(made, BuildOptions("fp32", backend, lowering=(NONE,)))
    return made


@pytest.fixture(params=BACKENDS)
def runner(request: pytest.FixtureRequest, bundle: Bundle) -> Iterator[Runner]:
    if request.param == "torch":
        opened: Runner = TorchRunner(bundle.manifest.model, [GOLDEN / f"{NAME}.pth"])
    else:
        opened = open_in_bundle(bundle, bundle.manifest.engines[f"{request.param}-fp32"])
    with opened:
        yield opened


def images_of(runner: Runner, count: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *runner.input_size, 3), dtype=np.uint8)


def test_the_engine_alone_gives_upstreams_logits(runner: Runner) -> None:
    golden = read_golden(NAME)
    bound = runner.bind(golden.image)

    bound()

    outputs = bound.outputs()
    assert np.abs(outputs["logits"] - golden.logits).max() < 1e-4
    assert (outputs["mask"].dtype, outputs["mask"].shape) == (np.uint8, (2, *golden.input_hw))
    sure = np.sort(golden.logits, axis=1)
    decided = sure[:, -1] - sure[:, -2] > 1e-3
    np.testing.assert_array_equal(outputs["mask"][decided], golden.logits.argmax(axis=1)[decided])


def test_runs_of_other_images_and_the_callers_array_do_not_reach_it(runner: Runner) -> None:
    image = images_of(runner, 2, 0)
    expected = runner.run({"image": image})
    bound = runner.bind(image)
    bound()
    image[:] = 0
    kept = bound.outputs()

    for seed in range(1, 4):
        other = images_of(runner, seed, seed)
        before = runner.run({"image": other})
        bound()
        after = runner.run({"image": other})
        np.testing.assert_array_equal(after["logits"], before["logits"])

    for outputs in (kept, bound.outputs()):
        np.testing.assert_allclose(outputs["logits"], expected["logits"], atol=1e-5)


def test_engines_alone_are_apart_from_each_other(runner: Runner) -> None:
    images = [images_of(runner, 1, seed) for seed in range(2)]
    bounds = [runner.bind(image) for image in images]
    for bound in bounds:
        bound()

    for image, bound in zip(images, bounds, strict=True):
        np.testing.assert_allclose(bound.outputs()["logits"], runner.run({"image": image})["logits"], atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_engines_alone_do_not_go_the_way_of_run(backend: str, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_in_bundle(bundle, bundle.manifest.engines[f"{backend}-fp32"])
    monkeypatch.setattr(opened, "_run", lambda _: pytest.fail("this copies"))

    with opened:
        opened.bind(images_of(opened, 1, 0))()


def test_a_batch_that_the_model_does_not_take_is_refused_with_the_range(runner: Runner) -> None:
    with pytest.raises(InputError, match="batch of 4: this model takes 1 to 3"):
        runner.bind(images_of(runner, 4, 0))
    with pytest.raises(InputError, match="image is float32"):
        runner.bind(images_of(runner, 1, 0).astype(np.float32))  # type: ignore[arg-type]


def test_threads_that_share_a_runner_get_their_own_masks(runner: Runner) -> None:
    images = [images_of(runner, 1 + seed % 3, seed) for seed in range(4)]
    expected = [runner.run({"image": image}) for image in images]

    def call(number: int) -> list[dict[str, Array]]:
        return [runner.run({"image": images[number]}) for _ in range(8)]

    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(call, range(4), timeout=PATIENCE))

    for answers, right in zip(results, expected, strict=True):
        for answer in answers:
            np.testing.assert_array_equal(answer["mask"], right["mask"])
            np.testing.assert_allclose(answer["logits"], right["logits"], atol=1e-5)


class Plain(Runner):
    """A runner with `run` alone."""

    backend, precision, device = "plain", "fp32", "CPU"

    def _run(self, image_nhwc: NDArray[np.uint8]) -> dict[str, Array]:
        del image_nhwc
        raise RuntimeError("the library says\nthis and that")


def test_a_runner_that_cannot_run_without_copies_says_so() -> None:
    card = make_card()
    with pytest.raises(SegdinoDeployError, match=r"^plain fp32 engine: this runner cannot run it without copies$"):
        Plain(card).bind(make_images(card, 1))
    assert Plain(card).device_memory_mib is None


def test_closing_openvino_refuses_new_callers(bundle: Bundle) -> None:
    opened = open_in_bundle(bundle, bundle.manifest.engines["openvino-fp32"])
    image = images_of(opened, 1, 0)
    opened.run({"image": image})

    opened.close()
    opened.close()

    with pytest.raises(SegdinoDeployError, match="was closed: open it again"):
        opened.run({"image": image})
