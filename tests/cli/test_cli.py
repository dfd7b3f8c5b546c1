"""The command line as users see it: results on stdout, one line per error on stderr, exit codes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from segdino_deploy import Bundle
from segdino_deploy.cli.app import run
from tests.cli.conftest import Cli
from tests.conftest import EXAMPLE, GOLDEN

Copy = Callable[..., Bundle]


def test_the_whole_path_by_commands(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint = GOLDEN / "v1_convt.pth"

    exported = cli("export", checkpoint, "--size", "64x96", "--classes", "polyp")
    assert exported.code == 0
    assert "v1_convt.segdino: v1_convt, 1 class(es), 64x96" in exported.stdout
    assert "ONNX Runtime against PyTorch, random images" in exported.stdout

    built = cli("build-engine", "--fp32", "--int8", "--calibration", EXAMPLE / "train", "--backend", "onnxruntime")
    assert built.code == 0
    assert built.stdout.count("canary passed") == 2

    quick = ("--rounds", "2", "--throughput-seconds", "0.05", "--starts", "1")
    bench = cli("bench", "--reference", checkpoint, "--data", EXAMPLE, "--foreground", "2", *quick, "--json")
    assert bench.code == 0
    rows = json.loads(bench.stdout)["rows"]
    assert [row["name"] for row in rows] == ["torch-fp32", "onnxruntime-fp32", "onnxruntime-int8"]
    assert all(len(row["speed"]["engine_only"]["samples_ms"]) == 2 for row in rows)
    summaries = [row["accuracy"]["summary"] for row in rows]
    assert summaries[1]["agreement"]["mean"] == 1
    assert summaries[0]["dice"]["mean"] == summaries[1]["dice"]["mean"]
    files = Bundle.open("v1_convt.segdino").manifest.files
    assert {"report/report.json", "report/report.md", "report/index.html"} <= files.keys()

    unchanged = cli("bench", "--compare", *["v1_convt.segdino/report/report.json"] * 2, "--max-drop", "0")
    assert unchanged.code == 0
    assert "nothing changed that the intervals can tell from chance" in unchanged.stdout

    predicted = cli("predict", "v1_convt.segdino", EXAMPLE / "test" / "image", "-o", "out", "--precision", "fp32")
    assert predicted.code == 0
    mask = np.asarray(Image.open("out/axial_086.png"))
    assert mask.shape == (256, 256)
    assert set(np.unique(mask)) <= {0, 255}
    assert np.asarray(Image.open("out/axial_086.overlay.png")).shape == (256, 256, 3)

    assert cli("verify").code == 0
    described = cli("inspect", "v1_convt.segdino", "--json")
    assert json.loads(described.stdout)["model"]["heads"][0]["class_names"] == ["polyp"]


def test_predict_keeps_sub_folders_and_source_sizes(cli: Cli, bundle_copy: Copy, tmp_path: Path) -> None:
    bundle = bundle_copy("v2_3class_sat")
    assert cli("build-engine", bundle.path, "--fp32", "--backend", "onnxruntime", "--lowering", "none").code == 0
    inputs = tmp_path / "in"
    (inputs / "patient").mkdir(parents=True)
    shutil.copy(EXAMPLE / "test" / "image" / "axial_086.png", inputs / "top.png")
    Image.fromarray(np.zeros((50, 70, 4), np.uint8), "RGBA").save(inputs / "patient" / "a.b.png")

    result = cli("predict", bundle.path, inputs, "-o", tmp_path / "out", "--json")

    assert result.code == 0
    assert np.asarray(Image.open(tmp_path / "out" / "patient" / "a.b.png")).shape == (50, 70)
    mask = np.asarray(Image.open(tmp_path / "out" / "top.png"))
    counts = {int(v): int(c) for v, c in zip(*np.unique(mask, return_counts=True), strict=True)}
    top = next(row for row in json.loads(result.stdout)["images"] if row["image"].endswith("top.png"))
    assert {int(k): v for k, v in top["pixels"].items()} == counts  # class indices, as they are


def test_one_unreadable_image_does_not_stop_the_others(cli: Cli, bundle_copy: Copy, tmp_path: Path) -> None:
    bundle = bundle_copy()
    cli("build-engine", bundle.path, "--fp32", "--backend", "onnxruntime", "--lowering", "none")
    inputs = tmp_path / "in"
    inputs.mkdir()
    (inputs / "a.png").write_text("not a picture")
    shutil.copy(EXAMPLE / "test" / "image" / "axial_086.png", inputs / "b.png")

    result = cli("predict", bundle.path, inputs, "-o", tmp_path / "out")

    assert result.code == 1
    assert result.error.endswith("a.png: not an image that can be read (1 of 2 images failed, the others were written)")
    assert sorted(p.name for p in (tmp_path / "out").glob("*.png")) == ["b.overlay.png", "b.png"]


def test_predict_refuses_to_overwrite_its_input_or_itself(cli: Cli, bundle_copy: Copy, tmp_path: Path) -> None:
    bundle = bundle_copy()
    cli("build-engine", bundle.path, "--fp32", "--backend", "onnxruntime", "--lowering", "none")
    image = tmp_path / "a.png"
    shutil.copy(EXAMPLE / "test" / "image" / "axial_086.png", image)
    Image.open(image).convert("RGB").save(tmp_path / "a.jpg")
    before = image.read_bytes()

    assert "would overwrite an input" in cli("predict", bundle.path, image, "-o", tmp_path).error
    assert "run them apart" in cli("predict", bundle.path, image, tmp_path / "a.jpg", "-o", tmp_path / "out").error
    through = tmp_path / "link"
    through.symlink_to(tmp_path)
    assert "would overwrite an input" in cli("predict", bundle.path, image, "-o", through).error
    shutil.copy(image, tmp_path / "a.overlay.png")
    both = cli("predict", bundle.path, image, tmp_path / "a.overlay.png", "-o", tmp_path / "out")
    assert "would both be written" in both.error
    assert image.read_bytes() == before


def test_predict_leaves_out_its_earlier_results(cli: Cli, bundle_copy: Copy, tmp_path: Path) -> None:
    bundle = bundle_copy()
    cli("build-engine", bundle.path, "--fp32", "--backend", "onnxruntime", "--lowering", "none")
    inputs = tmp_path / "in"
    inputs.mkdir()
    shutil.copy(EXAMPLE / "test" / "image" / "axial_086.png", inputs)

    for _ in range(2):
        result = cli("predict", bundle.path, inputs, "-o", inputs / "results", "--json")

    assert result.code == 0
    assert len(json.loads(result.stdout)["images"]) == 1


def test_an_engine_file_is_not_replaced_by_another_precision(cli: Cli, bundle_copy: Copy, tmp_path: Path) -> None:
    bundle = bundle_copy()
    cli("build-engine", bundle.path, "--fp32", "--backend", "onnxruntime", "--lowering", "none")
    engine = bundle.file("engines/onnxruntime-fp32.onnx")
    image = EXAMPLE / "test" / "image" / "axial_086.png"

    other = cli("predict", engine, image, "-o", tmp_path / "out", "--precision", "int8")
    unknown = cli("predict", bundle.path, image, "-o", tmp_path / "out", "--precision", "fp8")

    assert "holds onnxruntime fp32, while int8 was asked for" in other.error
    assert "'fp8' is none of fp32, fp16, bf16, int8" in unknown.error
    (tmp_path / "file").write_text("")
    blocked = cli("predict", engine, image, "-o", tmp_path / "file" / "out")
    assert (blocked.code, "a file stands where a folder is needed" in blocked.error) == (2, True)


def test_a_budget_that_no_engine_was_judged_by_is_missed(cli: Cli, bundle_copy: Copy, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    shutil.copy(EXAMPLE / "test" / "image" / "axial_086.png", tmp_path / "images")
    quick = ("--rounds", "1", "--warmup", "0", "--throughput-seconds", "0", "--starts", "1", "--worst", "0")

    result = cli("bench", bundle_copy().path, "--data", tmp_path / "images", "--max-drop", "0.5", *quick)

    assert result.code == 1
    assert "--max-drop: no engine was judged" in result.error
    assert "has no engine: build one with build-engine" in result.error


def test_a_failing_engine_fails_verify(cli: Cli, bundle_copy: Copy) -> None:
    bundle = bundle_copy()
    cli("build-engine", bundle.path, "--fp32", "--backend", "onnxruntime", "--lowering", "none")
    model = onnx.load(bundle.file("engines/onnxruntime-fp32.onnx"))
    for node in model.graph.node:  # a miscompiled engine with a valid hash
        if node.op_type == "Add":
            node.op_type = "Sub"
    bundle.update({"engines/onnxruntime-fp32.onnx": model.SerializeToString()}, lambda manifest: manifest)

    result = cli("verify", bundle.path)

    assert result.code == 1
    assert "FAILED" in result.stdout
    assert "canary failed on onnxruntime-fp32" in result.error


BAD_LINES: dict[str, tuple[list[object], int]] = {
    "c.pth: no such file": (["export", "c.pth"], 2),
    "--size: 100 is no multiple of 16; the nearest are 96 or 112": (
        ["export", GOLDEN / "v2.pth", "--size", "100"],
        2,
    ),
    "--size: 'big' is not HxW": (["export", GOLDEN / "v2.pth", "--size", "big"], 2),
    "--batch: '0' is not a number": (["export", GOLDEN / "v2.pth", "--batch", "0"], 2),
    "--batch: MIN:OPT:MAX must not decrease": (["export", GOLDEN / "v2.pth", "--batch", "4:2:8"], 2),
    "--outputs: 'masks' is none of": (["export", GOLDEN / "v2.pth", "--outputs", "masks"], 2),
    "--threshold: 1.5 is not between": (["export", GOLDEN / "v2.pth", "--threshold", "1.5"], 2),
    "--taps: 'a,b' is not a list": (["export", GOLDEN / "v2.pth", "--taps", "a,b"], 2),
    "--mean: '1,2' is not three numbers": (["export", GOLDEN / "v2.pth", "--mean", "1,2"], 2),
    "--classes: 2 names given, the checkpoint has 1": (["export", GOLDEN / "v2.pth", "--classes", "a,b"], 2),
    "nowhere.segdino: no such bundle": (["verify", "nowhere.segdino"], 2),
    "no bundle in": (["bench"], 2),
    "No such option": (["bench", "--fast"], 2),
    "--compare: reads two reports and measures nothing; leave out --data": (
        ["bench", "--compare", "a.json", "b.json", "--data", "."],
        2,
    ),
    "name a CHECKPOINT": (["export"], 2),
    "No such command": (["exprot"], 2),
    "r.toml: no such recipe": (["export", GOLDEN / "v2.pth", "--recipe", "r.toml"], 2),
}


@pytest.mark.parametrize("message", list(BAD_LINES))
def test_wrong_usage_is_one_line(message: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, code = BAD_LINES[message]

    result = cli(*arguments)

    assert message in result.error
    assert result.code == code
    assert list(tmp_path.iterdir()) == []  # nothing half-written


def test_a_precision_must_be_named(cli: Cli, bundle_copy: Copy) -> None:
    assert "name a precision" in cli("build-engine", bundle_copy().path).error


def test_spellings_are_taken_by_name_from_the_line_or_a_recipe(cli: Cli, bundle_copy: Copy, tmp_path: Path) -> None:
    path = bundle_copy().path
    recipe = tmp_path / "r.toml"
    recipe.write_text('precisions = ["fp32"]\nbackends = ["onnxruntime"]\nlowering = "gelu-erf"\n')

    assert "respelled gelu-erf, canary passed" in cli("build-engine", path, "--recipe", recipe).stdout
    assert "respelled" not in cli("build-engine", path, "--recipe", recipe, "--lowering", "none").stdout
    refused = cli("build-engine", path, "--recipe", recipe, "--lowering", "faster")
    assert refused.code == 2
    assert "--lowering: 'faster' is none of auto, none, split-qkv" in refused.error


def test_an_empty_calibration_folder_and_a_foreign_onnx_file(cli: Cli, bundle_copy: Copy, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = cli("build-engine", bundle_copy().path, "--int8", "--calibration", tmp_path / "empty")
    assert "holds no images" in result.error

    graph = onnx.helper.make_graph([], "g", [], [])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "other.onnx")
    result = cli("inspect", tmp_path / "other.onnx")
    assert (result.code, "not a segdino-deploy model" in result.error) == (2, True)


def test_recipes_are_read_and_unknown_keys_refused(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "e.toml").write_text('size = "32x48"\noutputs = "mask,logits"\n')

    result = cli("export", GOLDEN / "v1_paper.pth", "--recipe", "e.toml", "--size", "48", "-o", "b.segdino", "--json")

    card = json.loads(result.stdout)["model"]
    assert (card["input_size"], card["heads"][0]["outputs"]) == (
        [48, 48],
        ["mask", "logits"],
    )  # the line wins over the recipe
    (tmp_path / "e.toml").write_text("sise = 32\n")
    assert "e.toml: sise" in cli("export", GOLDEN / "v1_paper.pth", "--recipe", "e.toml").error


def test_a_second_export_replaces_the_bundle_and_its_engines(cli: Cli, bundle_copy: Copy) -> None:
    path = bundle_copy().path
    cli("build-engine", path, "--fp32", "--backend", "onnxruntime", "--lowering", "none")

    result = cli("export", GOLDEN / "v1_paper.pth", "-o", path, "--size", "64x96")

    assert result.code == 0
    assert "note: replaced an earlier bundle" in result.stdout
    manifest = Bundle.open(path).manifest
    assert (manifest.model.summary, manifest.engines) == ("v1_paper", {})
    assert not (path / "engines" / "onnxruntime-fp32.onnx").exists()


def test_inspect_tells_what_a_checkpoint_is(cli: Cli) -> None:
    found = json.loads(cli("inspect", GOLDEN / "v1_convt_4class_large.pth", "--json").stdout)

    assert (found["kind"], found["family"], found["num_classes"]) == ("checkpoint", "v1_convt", 4)
    assert found["taps"] == [4, 11, 17, 23]
    assert found["backbone"]["depth"] == 24


def test_version_and_debug(cli: Cli) -> None:
    from segdino_deploy import __version__

    assert cli("--version").stdout == f"segdino-deploy {__version__}\n"
    assert run(["export", "c.pth"], debug=True) == 2
