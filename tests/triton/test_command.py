"""The command line: `segdino-deploy triton`, and the runner that `predict --triton` opens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from segdino_deploy.cli import triton
from segdino_deploy.errors import InputError, MissingComponent
from tests.triton.simulated_models import ModelRepository
from tests.triton.simulated_servers import Behaviour, http_server


def run(*arguments: object) -> Any:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(triton.command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_bundles_become_models_and_the_line_says_which_engines(fixed: Path, dynamic: Path, tmp_path: Path) -> None:
    repository = tmp_path / "repository"

    done = run(fixed, dynamic, "-o", repository, "--backend", "onnxruntime")

    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        f"{repository}/fixed: version 1: onnxruntime-fp32; served: 1",
        f"{repository}/dynamic: version 1: onnxruntime-fp32; served: 1",
        f"serve it: tritonserver --model-repository={repository}",
    ]
    assert "note: onnxruntime-fp32: built with ONNX Runtime" in done.stderr
    again = run(fixed, "-o", repository, "--engine", "onnxruntime-fp32")
    assert f"{repository}/fixed: version 1: onnxruntime-fp32 (was there already); served: 1" in again.stdout


def test_every_option_reaches_the_configuration(dynamic: Path, tmp_path: Path) -> None:
    options = "--name seg-1 --precision fp32 --backend onnxruntime --instances 3 --threads 2 --max-queue-delay-us 250"
    more = "--preferred-batch 2,4 --versions 2 --json"

    done = run(dynamic, "-o", tmp_path / "repository", *options.split(), *more.split())

    (told,) = json.loads(done.stdout)["models"]
    assert (told["name"], told["version"], told["is_new_version"]) == ("seg-1", 1, True)
    assert told["record"]["engine"] == "onnxruntime-fp32"
    config = ModelRepository(tmp_path / "repository").models["seg-1"].config
    assert config.instance_group[0].count == 3
    assert config.parameters["intra_op_thread_count"].string_value == "2"
    assert config.dynamic_batching.max_queue_delay_microseconds == 250
    assert list(config.dynamic_batching.preferred_batch_size) == [2, 4]


def test_what_is_refused_leaves_no_repository(fixed: Path, tmp_path: Path) -> None:
    done = run(fixed, "-o", tmp_path / "repository", "--backend", "openvino")

    assert isinstance(done.exception, InputError)
    assert "--accept-bf16" in str(done.exception)
    assert list(tmp_path.iterdir()) == []
    assert run(fixed, "-o", tmp_path / "repository", "--backend", "openvino", "--accept-bf16").exit_code == 0
    with pytest.raises(InputError, match="--preferred-batch: 'two' is not a list of whole numbers"):
        raise run(fixed, "-o", tmp_path / "repository", "--preferred-batch", "two").exception


def test_without_the_client_library_the_install_line_is_told_and_nothing_is_written(
    fixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if "triton" in name else real(name, *a))

    done = run(fixed, "-o", tmp_path / "repository", "--backend", "onnxruntime")

    assert isinstance(done.exception, MissingComponent)
    assert "pip install 'segdino-deploy[triton]'" in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_predicts_options_open_a_runner_with_token_and_headers(fixed: Path, tmp_path: Path) -> None:
    assert run(fixed, "-o", tmp_path / "repository", "--backend", "onnxruntime", "--name", "polyp").exit_code == 0
    behaviour = Behaviour(token="secret")
    with http_server(tmp_path / "repository", behaviour) as (address, _):
        runner = triton.open_triton_runner(
            fixed, f"http://{address}", model="polyp", timeout_seconds=20, headers=["X-Tenant: clinic"], token="secret"
        )
        with runner:
            assert runner.run({"image": np.zeros((1, 64, 96, 3), np.uint8)})["mask"].shape == (1, 64, 96)
    assert behaviour.headers[-1]["x-tenant"] == "clinic"
    with pytest.raises(InputError, match=r"--triton-header: 'tenant' \.\.\. is not NAME:VALUE"):
        triton.open_triton_runner(fixed, "http://localhost:1", headers=["tenant"])
