"""`segdino-deploy predict` on folders: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segdino_deploy.engines.run.contract import Runner
from tests.cli.conftest import Cli
from tests.folders.toy import IDENTITY, Colours, make_folder


@pytest.fixture(autouse=True)
def _runs_the_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object, **__: object) -> Runner:
        return Colours()

    monkeypatch.setattr("segdino_deploy.engines.run.open_engine", opened)
    monkeypatch.setattr("segdino_deploy.folders.predict.engine_identity", lambda *_: IDENTITY)


def test_failures_are_listed_counted_and_end_with_exit_code_1(cli: Cli, tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 20)
    for number in range(0, 16, 2):
        (images / "part0" / f"{number:05d}.png").write_bytes(b"")
    line = ("predict", "x.segdino", images, "-o", tmp_path / "out", "--no-overlay", "--workers", "2")

    result = cli(*line, "--table", tmp_path / "a.csv", "--json")

    assert result.code == 1
    assert result.error.endswith(
        "00000.png: not an image that can be read (8 of 20 images failed, the others were written)"
    )
    assert result.stderr.count("failed: ") == 6  # the first five, and that there are more
    document = json.loads(result.stdout)
    assert document["counts"] == {"images": 20, "done": 12, "failed": 8, "resumed": 0}
    assert len(document["images"]) == 12
    assert {row["overlay"] for row in document["images"]} == {None}
    assert all(Path(row["mask"]).is_file() for row in document["images"])
    assert [Path(row["image"]).stem for row in document["failures"]] == [f"{n:05d}" for n in range(0, 16, 2)]
    assert (tmp_path / "a.csv").read_text().count(",failed,") == 8

    make_folder(images, 20)
    again = cli(*line, "--resume")
    assert again.code == 0
    assert "20 image(s) segmented by test fp32 on CPU, 12 of them by an earlier run" in again.stdout


def test_large_runs_print_counts_alone(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segdino_deploy.folders.recording.MAX_LISTED", 5)
    images = make_folder(tmp_path / "in", 5)

    document = json.loads(cli("predict", "x.segdino", images, "-o", tmp_path / "out", "--json").stdout)

    assert document["counts"]["done"] == 5
    assert "images" not in document


def test_ctrl_c_says_how_to_go_on(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = make_folder(tmp_path / "in", 12)

    class Interrupted(Colours):
        def _run(self, image_nhwc):  # type: ignore[no-untyped-def]
            if self.batches:
                raise KeyboardInterrupt
            return super()._run(image_nhwc)

    line = ("predict", "x.segdino", images, "-o", tmp_path / "out")
    with monkeypatch.context() as patched:
        patched.setattr("segdino_deploy.engines.run.open_engine", lambda *_, **__: Interrupted())
        interrupted = cli(*line)
    without = tmp_path / "other"
    cli("predict", "x.segdino", images, "-o", without)

    assert interrupted.code == 130
    assert "the same line with --resume goes on" in interrupted.stderr
    assert cli(*line, "--resume").code == 0
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*.png")}
    assert written == {path.name: path.read_bytes() for path in without.rglob("*.png")}


def test_starting_anew_over_an_interrupted_run_is_told(cli: Cli, tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 2)
    (images / "part0" / "00000.png").write_bytes(b"")
    line = ("predict", "x.segdino", images, "-o", tmp_path / "out")
    cli(*line)

    assert "--resume would have gone on with it" in cli(*line).stderr
