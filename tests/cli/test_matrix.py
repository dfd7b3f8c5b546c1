"""`build-engine` for several precisions and backends: checked before the first is built, reported when one fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from segdino_deploy import Bundle
from tests.cli.conftest import Cli

Copy = Callable[..., Bundle]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--fp32", "--backend", "onnxruntime", "--backend", "coreml"), "--backend: 'coreml' is none of"),
        (("--fp32", "--int8", "--backend", "onnxruntime"), "name their folder with --calibration DIR"),
        (("--fp32", "--bf16", "--backend", "onnxruntime"), "no bf16 kernels"),
        (
            ("--fp32", "--backend", "onnxruntime", "--backend", "tensorrt-rtx", "--compute-capabilities", "8.9"),
            "--compute-capabilities: is for tensorrt-rtx engines, not for onnxruntime",
        ),
    ],
)
def test_all_of_a_matrix_is_checked_before_its_first_engine_is_built(
    arguments: tuple[str, ...], said: str, cli: Cli, bundle_copy: Copy
) -> None:
    bundle = bundle_copy()
    result = cli("build-engine", bundle.path, *arguments)

    assert result.code == 2
    assert said in result.error
    assert Bundle.open(bundle.path).manifest.engines == {}


def test_a_library_that_is_missing_is_found_before_the_first_engine_is_built(
    cli: Cli, bundle_copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segdino_deploy.requirements.has_module", lambda name: name != "tensorrt_rtx")
    bundle = bundle_copy()
    result = cli("build-engine", bundle.path, "--fp32", "--backend", "onnxruntime", "--backend", "tensorrt-rtx")

    assert result.code == 3
    assert "tensorrt_rtx is not installed" in result.error
    assert Bundle.open(bundle.path).manifest.engines == {}


def test_what_was_built_before_a_failure_is_reported(cli: Cli, bundle_copy: Copy, calibration_images: Path) -> None:
    bundle = bundle_copy()
    call = (
        *("build-engine", bundle.path, "--fp32", "--fp16", "--int8", "--calibration", calibration_images),
        *("--backend", "onnxruntime", "--lowering", "split-qkv"),  # which the quantized model does not have
    )
    failed = cli(*call)
    assert failed.code == 2
    assert failed.error == "error: --lowering: split-qkv finds nothing to rewrite in this model"
    assert [line.split()[0] for line in failed.stdout.splitlines()[-2:]] == ["onnxruntime-fp32", "onnxruntime-fp16"]

    failed = cli(*call, "--resume", "--json")
    assert failed.code == 2
    said = json.loads(failed.stdout)
    assert [engine["file"] for engine in said["engines"]] == [
        "engines/onnxruntime-fp32.onnx",
        "engines/onnxruntime-fp16.onnx",
    ]
    assert said["error"] == "--lowering: split-qkv finds nothing to rewrite in this model"


def test_a_backend_that_is_named_twice_is_built_once(cli: Cli, bundle_copy: Copy) -> None:
    result = cli(
        "build-engine", bundle_copy().path, "--fp32", "--backend", "onnxruntime", "--backend", "onnxruntime", "--json"
    )
    assert result.code == 0, result.stderr
    assert len(json.loads(result.stdout)) == 1


def test_a_damaged_engine_can_be_built_again_and_hinders_everything_else(cli: Cli, bundle_copy: Copy) -> None:
    bundle = bundle_copy()
    build = ("build-engine", bundle.path, "--backend", "onnxruntime")
    assert cli(*build, "--fp32").code == 0
    engine = bundle.path / "engines" / "onnxruntime-fp32.onnx"
    engine.write_bytes(engine.read_bytes()[:-1])

    for other in (("verify", bundle.path), (*build, "--fp16")):
        refused = cli(*other)
        assert refused.code == 2
        assert refused.error == (
            f"error: {bundle.path}: engines/onnxruntime-fp32.onnx was changed since it was written (its size "
            "differs); copy the bundle again, or build the engine again: "
            f"segdino-deploy build-engine {bundle.path} --fp32 --backend onnxruntime"
        )
    result = cli(*build, "--fp32", "--resume")

    assert result.code == 0, result.stderr
    assert "is there already" not in result.stdout
    assert cli("verify", bundle.path).code == 0

    bundle.file("model.onnx").write_bytes(b"")  # of which everything is built
    refused = cli(*build, "--fp32")
    assert "model.onnx was changed since it was written" in refused.error
    assert refused.error.endswith("copy the bundle again, or export it anew")


def test_the_recipe_beside_an_int8_engine_builds_the_same_engine(
    cli: Cli, bundle_copy: Copy, calibration_images: Path
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    bundle = bundle_copy()
    line = ("--int8", "--backend", "tensorrt-rtx", "--workspace", 512, "--low-memory", "--compute-capabilities")
    assert cli("build-engine", bundle.path, *line, "12.0,8.9", "--calibration", calibration_images).code == 0
    engines = Bundle.open(bundle.path).manifest.engines
    first = engines["tensorrt-rtx-int8-sm89-sm120"]

    result = cli("build-engine", bundle.path, "--recipe", bundle.file("engines/tensorrt-rtx-int8-sm89-sm120.toml"))

    assert result.code == 0, result.stderr
    again = Bundle.open(bundle.path).manifest.engines
    assert set(again) == set(engines)
    assert again["tensorrt-rtx-int8-sm89-sm120"].receipt == first.receipt


def test_verify_takes_an_engine_and_what_a_killed_build_left_goes(cli: Cli, bundle_copy: Copy) -> None:
    bundle = bundle_copy()
    build = ("build-engine", bundle.path, "--backend", "onnxruntime", "--fp32", "--fp16")
    assert cli(*build).code == 0
    left = bundle.path / ".build-999999999"  # above any process id
    (left / "half").mkdir(parents=True)

    result = cli("verify", bundle.file("engines/onnxruntime-fp16.onnx"), "--json")
    assert result.code == 0, result.stderr
    assert [verdict["name"] for verdict in json.loads(result.stdout)] == ["onnxruntime-fp16"]
    assert not left.exists()

    (left / "half").mkdir(parents=True)
    assert cli(*build, "--resume").code == 0
    assert not left.exists()
    stranger = cli("verify", bundle.file("model.onnx"))
    assert stranger.code == 2
    assert "is no engine of v1_convt.segdino (engines: onnxruntime-fp32, onnxruntime-fp16)" in stranger.error
