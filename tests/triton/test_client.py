"""A model on a server as a runner: the same masks as the engine's own, for any number of images and threads."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segdino_deploy import open_engine
from segdino_deploy.engines.run import run_padded
from segdino_deploy.errors import InputError, SegdinoDeployError
from segdino_deploy.predict import plan_jobs, predict_files
from segdino_deploy.triton.runner import TritonRunner
from tests.conftest import EXAMPLE
from tests.triton.conftest import ONNX, Server


@pytest.mark.parametrize("bundle_name", ["fixed", "dynamic"])
def test_every_output_is_the_engines_own_and_larger_batches_are_split(
    bundle_name: str, server: Server, request: pytest.FixtureRequest
) -> None:
    bundle: Path = request.getfixturevalue(bundle_name)
    images = np.random.default_rng(0).integers(0, 256, (7, 64, 96, 3), dtype=np.uint8)
    with open_engine(bundle, backend="onnxruntime") as engine:
        expected = run_padded(engine, images)
    model = server.models.models[bundle_name]
    model.batches.clear()

    with TritonRunner(bundle, server.options()) as runner:
        answer = runner.run({"image": images})

    assert answer.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(answer[name], array)
        assert answer[name].flags.writeable
    assert model.batches == ([1] * 7 if bundle_name == "fixed" else [4, 3])
    assert (runner.backend, runner.precision, runner.input_size) == ("triton", "fp32", (64, 96))
    assert runner.device == f"{server.url} ({bundle_name} version 1, {ONNX})"


def test_files_become_the_same_masks_and_overlays_as_with_the_engine(
    server: Server, fixed: Path, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for path in sorted((EXAMPLE / "test" / "image").iterdir())[:3]:
        shutil.copy(path, images)
    with TritonRunner(fixed, server.options()) as runner, open_engine(fixed, backend="onnxruntime") as engine:
        for name, opened in (("served", runner), ("local", engine)):
            predict_files(opened, plan_jobs([images], tmp_path / name))

    written = {path.name: path.read_bytes() for path in (tmp_path / "served").iterdir()}
    assert written == {path.name: path.read_bytes() for path in (tmp_path / "local").iterdir()}
    assert len(written) == 6


def test_any_number_of_threads_may_call(server: Server, dynamic: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (12, 2, 64, 96, 3), dtype=np.uint8)
    with open_engine(dynamic, backend="onnxruntime") as engine:
        expected = [engine.run({"image": pair})["tissue.mask"] for pair in images]

    with TritonRunner(dynamic, server.options()) as runner, ThreadPoolExecutor(4) as pool:
        masks = list(pool.map(lambda pair: runner.run({"image": pair})["tissue.mask"], images))

    np.testing.assert_array_equal(masks, expected)


def test_a_wrong_input_never_reaches_the_server_and_the_runner_stays_usable(server: Server, dynamic: Path) -> None:
    with TritonRunner(dynamic, server.options()) as runner:
        with pytest.raises(InputError, match=r"batch of 1: this model takes 2 to 4"):
            runner.run({"image": np.zeros((1, 64, 96, 3), np.uint8)})
        with pytest.raises(InputError, match=r"shape \[9, 96, 64, 3\]: \[N, 64, 96, 3\] is expected"):
            runner.run({"image": np.zeros((9, 96, 64, 3), np.uint8)})

        assert runner.run({"image": np.zeros((2, 64, 96, 3), np.uint8)})["polyp.mask"].shape == (2, 64, 96)
    with pytest.raises(SegdinoDeployError, match="was closed"):
        runner.run({"image": np.zeros((2, 64, 96, 3), np.uint8)})


def test_a_slow_answer_is_not_waited_for(server: Server, fixed: Path) -> None:
    with TritonRunner(fixed, server.options(timeout_seconds=0.2)) as runner:
        server.behaviour.delay_seconds = 5
        with pytest.raises(SegdinoDeployError, match=r"no answer within 0.2 s: .* --triton-timeout gives it more"):
            runner.run({"image": np.zeros((1, 64, 96, 3), np.uint8)})

        server.behaviour.delay_seconds = 0
        runner.run({"image": np.zeros((1, 64, 96, 3), np.uint8)})


Outputs = dict[str, Any]
CHANGES: dict[str, Callable[[Outputs], Outputs]] = {
    "the answer has no mask": lambda _: {},
    r"mask came as uint8 \[0, 64, 96\]; uint8 \[1, 64, 96\]": lambda outputs: {k: v[:0] for k, v in outputs.items()},
    "mask came as float64": lambda outputs: {k: v.astype(np.float64) for k, v in outputs.items()},
}


@pytest.mark.parametrize("message", list(CHANGES))
def test_an_answer_that_is_not_the_cards_is_refused(message: str, server: Server, fixed: Path) -> None:
    with TritonRunner(fixed, server.options()) as runner:
        server.behaviour.change = CHANGES[message]
        with pytest.raises(SegdinoDeployError, match=message):
            runner.run({"image": np.zeros((1, 64, 96, 3), np.uint8)})
