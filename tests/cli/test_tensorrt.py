"""`build-engine` and `refit` for TensorRT-RTX from the command line: the matrix, resuming, options and recipes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from segdino_deploy import Bundle
from segdino_deploy.gpu import has_gpu
from tests.cli.conftest import Cli
from tests.conftest import GOLDEN

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
Copy = Callable[..., Bundle]


def test_several_precisions_and_backends_in_one_call_end_with_a_table(cli: Cli, bundle_copy: Copy) -> None:
    bundle = bundle_copy()
    result = cli(
        "build-engine", bundle.path, "--fp32", "--fp16", "--backend", "tensorrt-rtx", "--backend", "onnxruntime"
    )  # fmt: skip

    assert result.code == 0, result.stderr
    table = [line.split() for line in result.stdout.splitlines()[-4:]]
    names = ["tensorrt-rtx-fp32", "onnxruntime-fp32", "tensorrt-rtx-fp16", "onnxruntime-fp16"]
    assert [row[0] for row in table] == names
    assert [row[4] for row in table] == ["fp32", "fp32", "fp16", "fp16"]
    assert set(Bundle.open(bundle.path).manifest.engines) == set(names)


def test_resume_leaves_what_is_there_and_builds_the_rest(cli: Cli, bundle_copy: Copy) -> None:
    bundle = bundle_copy()
    call = ("build-engine", bundle.path, "--backend", "tensorrt-rtx", "--workspace", 512, "--resume")
    assert cli(*call, "--fp32").code == 0
    before = Bundle.open(bundle.path).manifest.engines["tensorrt-rtx-fp32"]

    result = cli(*call, "--fp32", "--fp16")

    assert result.code == 0, result.stderr
    assert "tensorrt-rtx-fp32.rtx: is there already" in result.stdout
    engines = Bundle.open(bundle.path).manifest.engines
    assert engines["tensorrt-rtx-fp32"] == before
    assert engines["tensorrt-rtx-fp16"].receipt["options"] == {"workspace_mib": 512}


def test_options_come_from_the_recipe_and_the_line_wins(cli: Cli, bundle_copy: Copy, tmp_path: Path) -> None:
    recipe = tmp_path / "rtx.toml"
    recipe.write_text(
        'precisions = ["fp16"]\nbackends = ["tensorrt-rtx"]\n'
        '[tensorrt]\nworkspace_mib = 512\nlow_memory = true\ncompute_capabilities = ["8.9"]\n'
    )
    bundle = bundle_copy()
    result = cli("build-engine", bundle.path, "--recipe", recipe, "--workspace", 256, "--json")

    assert result.code == 0, result.stderr
    (engine,) = json.loads(result.stdout)
    assert engine["file"] == "engines/tensorrt-rtx-fp16-sm89.rtx"
    assert engine["receipt"]["options"] == {
        "workspace_mib": 256,
        "compute_capabilities": ["8.9"],
        "low_memory": True,
    }
    recipe.write_text("[tensorrt]\nworkspace = 512\n")
    wrong = cli("build-engine", bundle.path, "--fp16", "--recipe", recipe)
    assert wrong.code == 2
    assert "rtx.toml: tensorrt.workspace: unexpected keyword argument (known keys: workspace_mib, " in wrong.error


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--backend", "openvino", "--low-memory"), 2, "--low-memory: is for tensorrt and tensorrt-rtx engines"),
        (("--backend", "tensorrt-rtx", "--dla-core", "0"), 2, "--dla-core: is for tensorrt engines"),
        (("--backend", "tensorrt-rtx", "--aux-streams", "2"), 2, "--aux-streams: is for tensorrt engines"),
        (("--backend", "tensorrt", "--optimization-level", "7"), 2, "--optimization-level: 7 is not from 0 to 5"),
        (("--backend", "tensorrt-rtx", "--compute-capabilities", "4"), 2, "--compute-capabilities: '4' is none"),
        (("--backend", "tensorrt-rtx", "--compute-capabilities", ","), 2, "names no compute capability"),
    ],
)
def test_options_that_cannot_work_are_one_line_and_leave_the_bundle_alone(
    arguments: tuple[str, ...], code: int, said: str, cli: Cli, bundle_copy: Copy
) -> None:
    bundle = bundle_copy()
    result = cli("build-engine", bundle.path, "--fp16", *arguments)

    assert result.code == code
    assert said in result.error
    assert Bundle.open(bundle.path).manifest == bundle.manifest


@pytest.mark.skipif(has_gpu(), reason="this machine has an NVIDIA GPU")
def test_engines_that_cannot_run_here_are_reported_by_verify_and_refused_by_predict(
    cli: Cli, bundle_copy: Copy, calibration_images: Path, tmp_path: Path
) -> None:
    bundle = bundle_copy()
    assert cli("build-engine", bundle.path, "--fp16", "--backend", "tensorrt-rtx").code == 0

    verified = cli("verify", bundle.path)
    assert verified.code == 3  # nothing was verified but the model itself
    assert "no usable NVIDIA GPU here; run them on the target device" in verified.stdout
    assert "running the canary on model.onnx" in verified.stderr
    assert "running the canary on tensorrt-rtx-fp16" not in verified.stderr
    assert verified.error == f"error: {bundle.path}: no engine was verified: none of them runs on this machine"
    refused = cli("predict", bundle.path, calibration_images, "-o", tmp_path / "out")
    assert refused.code == 3
    assert refused.error == "error: tensorrt-rtx engines: no usable NVIDIA GPU here; run them on the target device"


def test_refit_names_what_it_needs(cli: Cli, bundle_copy: Copy) -> None:
    bundle = bundle_copy()
    for arguments, said in (
        ((), "name the new checkpoint: --checkpoint FILE, or --head NAME=FILE for each head"),
        (("--head", "polyp"), "--head: 'polyp' is not NAME=FILE, such as polyp=polyp.pth"),
        (("--checkpoint", GOLDEN / "v2.pth"), "no engine can be refitted; make one: segdino-deploy build-engine "),
    ):
        result = cli("refit", bundle.path, *arguments)
        assert result.code == 2
        assert said in result.error
