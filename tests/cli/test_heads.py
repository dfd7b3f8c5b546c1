"""Several heads on the command line: the whole path, and wrong usage in one line."""

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
from tests.cli.conftest import Cli
from tests.conftest import EXAMPLE, GOLDEN

Shared = Callable[[str], Path]


def test_the_whole_path_with_two_heads(
    cli: Cli, shared_backbone: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one, three = shared_backbone("v1_convt"), shared_backbone("v2_3class_sat")
    heads = ["--head", f"polyp={one}", "--head", f"tissue={three}"]

    exported = cli("export", *heads, "--size", "64x96", "--classes", "tissue=bg,grey,white")
    assert exported.code == 0
    assert "polyp-tissue.segdino: polyp: v1_convt, 1 class(es), tissue: v2, 3 class(es)" in exported.stdout
    assert "note: images are resized bicubic, as polyp was trained; tissue with bilinear" in exported.stdout

    built = cli("build-engine", "--fp32", "--backend", "onnxruntime")
    assert "same class in polyp 100.000%, tissue 100.000% of the canary's pixels" in built.stdout

    verified = cli("verify")
    assert verified.code == 0
    assert [line.split()[1] for line in verified.stdout.splitlines()[2:]] == ["polyp", "tissue"] * 2

    quick = ["--rounds", "1", "--warmup", "0", "--throughput-seconds", "0", "--starts", "1"]
    bench = ["bench", "--data", EXAMPLE, *quick, "--reference", three, "--reference", one]
    measured = json.loads(cli(*bench, "--head", "polyp", "--foreground", "2", "--json").stdout)
    assert measured["data"]["scored_head"] == "polyp"
    assert measured["data"]["class_names"] == ["polyp"]
    assert [row["name"] for row in measured["rows"]] == ["torch-fp32", "onnxruntime-fp32"]
    summary = measured["rows"][1]["accuracy"]["summary"]
    assert summary["polyp:agreement"]["mean"] > 0.9999
    assert summary["tissue:agreement"]["mean"] > 0.9999
    assert summary["dice"]["images"] == 12
    table = cli(*bench, "--head", "tissue").stdout
    assert "same pixels, tissue" in table
    assert "of the head tissue" in table

    image = EXAMPLE / "test" / "image" / "axial_086.png"
    predicted = cli("predict", "polyp-tissue.segdino", image, "-o", "out", "--json")
    stem = "axial_086"
    assert sorted(path.name for path in Path("out").iterdir()) == [
        f"{stem}.{head}{kind}" for head in ("polyp", "tissue") for kind in (".overlay.png", ".png")
    ]
    assert set(np.unique(np.asarray(Image.open(f"out/{stem}.polyp.png")))) <= {0, 255}
    assert set(np.unique(np.asarray(Image.open(f"out/{stem}.tissue.png")))) <= {0, 1, 2}
    rows = json.loads(predicted.stdout)
    assert rows["class_names"] == {"polyp": ["polyp"], "tissue": ["bg", "grey", "white"]}
    assert [(row["head"], row["mask"]) for row in rows["images"]] == [
        (head, f"out/{stem}.{head}.png") for head in ("polyp", "tissue")
    ]

    described = json.loads(cli("inspect", "polyp-tissue.segdino/model.onnx", "--json").stdout)
    assert [head["name"] for head in described["model"]["heads"]] == ["polyp", "tissue"]
    assert cli("inspect", "polyp-tissue.segdino").stdout.count("class_names") == 2


def test_a_recipe_names_heads_and_classes(
    cli: Cli, shared_backbone: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(shared_backbone("v1_convt"), "a.pth")
    recipe = 'size = "32"\n[heads]\npolyp = "a.pth"\n[classes]\npolyp = "foreground"\n'
    (tmp_path / "r.toml").write_text(recipe)

    result = cli("export", "--recipe", "r.toml", "--json")

    assert json.loads(result.stdout)["bundle"] == "polyp.segdino"
    assert json.loads(result.stdout)["model"]["heads"][0]["class_names"] == ["foreground"]
    both = cli("export", "a.pth", "--recipe", "r.toml")
    assert "a CHECKPOINT and --head do not go together" in both.error


def test_bench_asks_whose_masks_and_which_checkpoints(cli: Cli, joint_copy: Bundle, shared_backbone: Shared) -> None:
    one = shared_backbone("v1_convt")

    def error(*arguments: object) -> str:
        result = cli("bench", joint_copy.path, *arguments)
        assert result.code == 2
        return result.error

    assert "name it with --head (polyp, tissue)" in error("--data", EXAMPLE)
    assert "'liver' is none of this model's (polyp, tissue)" in error("--data", EXAMPLE, "--head", "liver")
    assert "'polyp' has no masks" in error("--head", "polyp")
    assert "the head tissue has none; add its checkpoint v2_3class_sat_grafted.pth" in error("--reference", one)
    other = GOLDEN / "v2.pth"
    assert f"{other}: is not the file this bundle was exported from (v1_convt.pth, v2_3" in error(
        "--reference", one, "--reference", other
    )


def test_one_failing_head_fails_verify_by_its_name(cli: Cli, joint_copy: Bundle) -> None:
    model = onnx.load(joint_copy.file("model.onnx"))
    for node in model.graph.node:  # the decision of one head turned round, with a valid hash
        if node.op_type == "Greater":
            node.input[0], node.input[1] = node.input[1], node.input[0]
    joint_copy.update({"model.onnx": model.SerializeToString()}, lambda manifest: manifest)

    result = cli("verify", joint_copy.path, "--json")

    record = json.loads(result.stdout)[0]["record"]
    assert result.code == 1
    assert [(head["head"], head["passed"]) for head in record["heads"]] == [("polyp", False), ("tissue", True)]
    assert record["detail"].startswith("polyp: ")


A, B = f"a={GOLDEN / 'v1_convt.pth'}", f"b={GOLDEN / 'v2.pth'}"
BAD_LINES: dict[str, list[object]] = {
    "a CHECKPOINT and --head do not go together": [GOLDEN / "v2.pth", "--head", A],
    "--head: 'a.pth' is not NAME=PATH": ["--head", "a.pth"],
    "--head: 'a=' is not NAME=PATH": ["--head", "a="],
    "--head: '1a' is no name for a head": ["--head", "1a=x.pth"],
    "--head: 'a.b' is no name for a head": ["--head", "a.b=x.pth"],
    "--head: a is given twice": ["--head", A, "--head", "a=x.pth"],
    "--head: B is given twice": ["--head", A, "--head", "b=x.pth", "--head", "B=y.pth"],
    "x.pth: no such file": ["--head", A, "--head", "b=x.pth"],
    "unknown SegDINO family": ["--head", A, "--head", "b=odd.pth"],
    "its backbone is not that of": ["--head", A, "--head", B],
    "embed_dim 16, not 32": ["--head", A, "--head", f"b={GOLDEN / 'v1_convt_4class_large.pth'}"],
    "has its own backbone, head.pth has none": ["--head", A, "--head", "b=head.pth"],
    "--classes: 'x' names no head; write HEAD=A,B,C": ["--head", A, "--classes", "x"],
    "--classes: 'c' is none of the heads a": ["--head", A, "--classes", "c=x"],
    "--classes: 'a=y' comes second": ["--head", A, "--classes", "a=x", "--classes", "a=y"],
    "--classes: 'a=x,' holds an empty name": ["--head", A, "--classes", "a=x,"],
    "--classes: 'x=y' names a head": [GOLDEN / "v2.pth", "--classes", "x=y"],
    "'x' is a class of a and of b": [*("--head", A, "--head", "b=grafted.pth", "--classes", "a=x", "--classes", "b=x")],
}


@pytest.fixture
def odd_files(shared_backbone: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """In the working directory: a family nobody knows, a head without its backbone, a head on v1_convt's backbone."""
    import torch

    from segdino_deploy.model.checkpoint import read_checkpoint

    monkeypatch.chdir(tmp_path)
    head = read_checkpoint(GOLDEN / "v2.pth").head
    torch.save(head, "head.pth")
    torch.save({"head.mystery.weight": torch.zeros(1), "backbone.cls_token": torch.zeros(1, 1, 32)}, "odd.pth")
    shutil.copy(shared_backbone("v2"), "grafted.pth")
    return {"head.pth", "odd.pth", "grafted.pth"}


@pytest.mark.parametrize("message", list(BAD_LINES))
def test_wrong_heads_are_one_line_and_write_nothing(message: str, cli: Cli, odd_files: set[str]) -> None:
    result = cli("export", *BAD_LINES[message])

    assert message in result.error
    assert result.code == 2
    assert {path.name for path in Path().iterdir()} == odd_files
