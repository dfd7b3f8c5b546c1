"""`build-engine --int8` from the command line: calibration, the budget, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdino_deploy import Bundle
from segdino_deploy.engines.precision.budget.record import read_search
from tests.cli.conftest import Cli
from tests.conftest import EXAMPLE

Copy = Callable[..., Bundle]


@pytest.fixture
def held_out(tmp_path: Path) -> Path:
    """Two real slices that were not calibrated on, without masks."""
    directory = tmp_path / "held_out"
    directory.mkdir()
    for path in sorted((EXAMPLE / "test" / "image").iterdir())[:2]:
        shutil.copy(path, directory)
    return directory


def test_a_budget_gives_a_plan_a_table_a_picture_and_a_recipe_that_rebuilds_it(
    cli: Cli, bundle_copy: Copy, calibration_images: Path, held_out: Path
) -> None:
    bundle = bundle_copy()
    result = cli(
        "build-engine", bundle.path, "--int8", "--backend", "onnxruntime", "--calibration", calibration_images,
        "--max-drop", "5", "--data", held_out, "--lowering", "none",
    )  # fmt: skip

    assert result.code == 0, result.error
    bundle = Bundle.open(bundle.path)
    search = read_search(bundle, "onnxruntime-int8")
    assert search.chosen is not None and search.point(search.chosen).loss.drop <= 5
    assert search.drop_unit == "% of pixels changed"
    assert len(search.sensitivities) == len(search.groups) == 48  # four layers of each of twelve blocks
    assert {"fp32", search.chosen} <= {point.name for point in search.points}
    timed = {point.name for point in search.points if len(point.samples_ms) >= 9 and point.median_ms}
    assert {"fp32", search.chosen} <= timed
    assert "chosen" in result.stdout and "2 held-out images" in result.stdout
    with Image.open(bundle.file("report/onnxruntime-int8.png")) as picture:
        assert np.asarray(picture).std() > 0
    receipt = bundle.manifest.engines["onnxruntime-int8"].receipt["budget"]
    assert receipt["max_drop"] == 5 and receipt["recommendation"] == search.recommendation
    model = bundle.file("model.int8-onnxruntime.onnx").read_bytes()
    recipe = bundle.path.parent / "again.toml"
    shutil.copy(bundle.file("engines/onnxruntime-int8.toml"), recipe)

    again = bundle_copy_of(bundle)
    assert cli("build-engine", again, "--recipe", recipe, "--calibration", calibration_images).code == 0
    assert (again / "model.int8-onnxruntime.onnx").read_bytes() == model

    # in the bundle itself: the same model keeps the report of its search and the reasons in its recipe
    report, text = bundle.file("report/onnxruntime-int8.json").read_bytes(), recipe.read_text()
    assert cli("build-engine", bundle.path, "--recipe", recipe).code == 0
    rebuilt = Bundle.open(bundle.path)
    assert rebuilt.file("report/onnxruntime-int8.json").read_bytes() == report
    assert rebuilt.manifest.engines["onnxruntime-int8"].receipt["budget"] == receipt
    assert rebuilt.file("engines/onnxruntime-int8.toml").read_text() == text


def files_of(bundle: Bundle) -> dict[str, bytes]:
    return {str(p.relative_to(bundle.path)): p.read_bytes() for p in bundle.path.rglob("*") if p.is_file()}


def bundle_copy_of(bundle: Bundle) -> Path:
    """The exported model alone, without what was built from it."""
    path = bundle.path.parent / "fresh.segdino"
    path.mkdir()
    manifest = json.loads(bundle.file("manifest.json").read_text())
    kept = ("model.onnx", "canary.npz")
    manifest |= {"onnx": {"fp32": manifest["onnx"]["fp32"]}, "engines": {}}
    manifest["files"] = {name: manifest["files"][name] for name in kept}
    for name in kept:
        shutil.copy(bundle.file(name), path)
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


def test_a_budget_that_no_plan_keeps_ends_with_1_and_replaces_nothing(
    cli: Cli, bundle_copy: Copy, calibration_images: Path, held_out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segdino_deploy.engines.precision.budget import held_out as module

    bundle = bundle_copy()
    assert cli("build-engine", bundle.path, "--fp32", "--backend", "onnxruntime").code == 0
    before = files_of(bundle)
    # one pixel more than the budget of nothing, whatever the plan: an fp32 model that contradicts itself
    monkeypatch.setattr(module, "_changed", lambda _masks, _reference: (0.001, 0.0))

    result = cli(
        "build-engine", bundle.path, "--int8", "--backend", "onnxruntime", "--calibration", calibration_images,
        "--max-drop", "0", "--data", held_out, "--lowering", "none",
    )  # fmt: skip

    assert result.code == 1
    assert "no int8 plan keeps the budget of 0 % of pixels changed" in result.error
    assert "nothing was replaced" in result.error
    assert "missed" in result.stdout  # the table of what was tried
    after = files_of(bundle)
    # the calibration is kept, for the next try; nothing else came or went
    assert after.pop("calibration.json") and before.pop("manifest.json") != after.pop("manifest.json")
    assert after == before


def test_what_the_calibration_images_cover_is_said_with_a_warning_where_a_class_is_missing(
    cli: Cli, bundle_copy: Copy, tmp_path: Path
) -> None:
    dark = tmp_path / "dark"
    dark.mkdir()
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(dark / "a.png")

    result = cli("build-engine", bundle_copy().path, "--int8", "--backend", "onnxruntime", "--calibration", dark)

    assert "calibrated on 1 image (40x60: 1), intensities 0 to 0" in result.stderr
    assert "warning: most of the intensity range was never seen" in result.stderr


BAD_LINES: dict[str, list[object]] = {
    "--max-drop: needs held-out images": ["--int8", "--max-drop", "0.1"],
    "--data: is what --max-drop measures on": ["--int8", "--data", "x"],
    "--max-drop: is for --int8": ["--fp16", "--max-drop", "0.1", "--data", "x"],
    "--max-drop: nan is not a number of percent": ["--int8", "--max-drop", "nan", "--data", "x"],
    "--fp32-groups: --max-drop finds them": ["--int8", "--max-drop", "1", "--data", "x", "--fp32-groups", "a"],
    "calibration method 'average' is not known: choose one of minmax": ["--int8", "--calibration-method", "average"],
    "int8 needs images": ["--int8"],
    "calibration method entropy needs at least 8 images": ["--int8", "--calibration-method", "entropy"],
    "damaged.png": ["--int8", "--calibration", "damaged"],
    "holds no images": ["--int8", "--calibration", "empty"],
    "no group 'blocks.99.qkv' in this model": ["--int8", "--fp32-groups", "blocks.99.qkv"],
    "has no masks in nope/; name their folder with --mask-dir": [
        "--int8",
        "--max-drop",
        "1",
        "--data",
        "plain",
        "--mask-dir",
        "nope",
    ],
    "has no folder nope/; --image-dir names the one": ["--int8", "--image-dir", "nope"],
    "plain: has no folder nope/; --image-dir names": [
        "--int8",
        "--max-drop",
        "1",
        "--data",
        "plain",
        "--image-dir",
        "nope",
    ],
}


@pytest.mark.parametrize("message", BAD_LINES)
def test_what_cannot_be_built_is_one_line_and_leaves_the_bundle_alone(
    message: str, cli: Cli, bundle_copy: Copy, calibration_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "damaged.png").write_bytes(b"no picture")
    (tmp_path / "plain").mkdir()
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / "plain" / "a.png")
    bundle = bundle_copy()
    before = bundle.file("manifest.json").read_bytes()
    arguments = BAD_LINES[message]
    if "--calibration" not in arguments and message != "int8 needs images":
        arguments = [*arguments, "--calibration", calibration_images]

    result = cli("build-engine", bundle.path, "--backend", "onnxruntime", *arguments)

    assert result.code == 2
    assert message in result.error
    assert bundle.file("manifest.json").read_bytes() == before


def test_unreadable_images_are_left_out_when_that_is_asked_for(
    cli: Cli, bundle_copy: Copy, calibration_images: Path, tmp_path: Path
) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(calibration_images, mixed)
    (mixed / "damaged.png").write_bytes(b"no picture")
    arguments = ["build-engine", bundle_copy().path, "--int8", "--backend", "onnxruntime", "--calibration", mixed]

    assert cli(*arguments).code == 2
    result = cli(*arguments, "--skip-unreadable")

    assert result.code == 0
    assert "1 unreadable left out" in result.stderr
    again = cli(*arguments, "--skip-unreadable")  # now from the cache
    assert again.code == 0 and "calibration found" in again.stderr
    assert cli(*arguments).code == 2  # which is no reason to accept the damaged one in silence


def test_a_stored_calibration_of_another_method_is_not_taken_in_silence(
    cli: Cli, bundle_copy: Copy, calibration_images: Path
) -> None:
    arguments = ["build-engine", bundle_copy().path, "--int8", "--backend", "onnxruntime", "--lowering", "none"]
    assert cli(*arguments, "--calibration", calibration_images).code == 0

    result = cli(*arguments, "--calibration-method", "mse")

    assert result.code == 2
    assert "calibration.json: was made with method minmax, mse was asked for" in result.error
    assert cli(*arguments).code == 0
