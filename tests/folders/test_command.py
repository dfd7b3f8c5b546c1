"""`segdino-deploy predict` on folders: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segdino_deploy.engines.run.contract import Runner
from segdino_deploy.errors import SegdinoDeployError
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


def test_images_that_failed_are_no_part_of_the_rate(cli: Cli, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"")
    line = ("predict", "x.segdino", broken, "-o", tmp_path / "out")

    assert "images/s" not in cli(*line).stdout
    assert json.loads(cli(*line, "--json").stdout)["images_per_second"] == 0


def test_an_engine_that_fails_after_a_while_says_how_to_go_on(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = make_folder(tmp_path / "in", 40)

    class Gone(Colours):
        good = 8

        def _run(self, image_nhwc):  # type: ignore[no-untyped-def]
            if len(self.batches) == self.good:
                raise SegdinoDeployError("the server is gone")
            return super()._run(image_nhwc)

    for good in (8, 0):
        monkeypatch.setattr(Gone, "good", good)
        monkeypatch.setattr("segdino_deploy.engines.run.open_engine", lambda *_, **__: Gone())

        result = cli("predict", "x.segdino", images, "-o", tmp_path / f"out{good}")

        assert result.error == "error: the server is gone"
        assert ("what is done stays; the same line with --resume goes on" in result.stderr) == bool(good)


def test_options_of_triton_are_not_ignored_without_it(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ("predict", "x.segdino", make_folder(tmp_path / "in", 1), "-o", tmp_path / "out")

    one = cli(*line, "--triton-timeout", "60")
    two = cli(*line, "--triton-model", "x", "--triton-token", "y")

    assert (one.code, one.error) == (2, "error: --triton-timeout: of a Triton server; add --triton URL")
    assert (two.code, two.error) == (
        2,
        "error: --triton-model and --triton-token: of a Triton server; add --triton URL",
    )
    monkeypatch.setenv("SEGDINO_DEPLOY_TRITON_TOKEN", "y")
    assert cli(*line).code == 0


def test_what_a_triton_server_decides_is_refused_by_name(cli: Cli, tmp_path: Path) -> None:
    line = ("predict", "x.segdino", tmp_path, "-o", tmp_path / "out", "--triton", "http://localhost:1")

    result = cli(*line, "--backend", "openvino")

    assert (result.code, result.error) == (2, "error: --triton: the server has the engine; leave out --backend")
    assert cli(*line, "--precision", "fp16", "--ray", "local").error.endswith("leave out --precision and --ray")


def test_videos_that_a_folder_holds_are_named(cli: Cli, tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 1)
    (images / "a.mp4").write_bytes(b"x")

    result = cli("predict", "x.segdino", images, "-o", tmp_path / "out")

    assert result.code == 0
    assert f"{images}: 1 video(s) left out; name them one by one" in result.stderr


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="without /proc")
def test_a_place_where_no_folder_can_be_made_is_one_line(cli: Cli, tmp_path: Path) -> None:
    result = cli("predict", "x.segdino", make_folder(tmp_path / "in", 1), "-o", "/proc/x")

    assert result.code == 2
    assert result.error.startswith("error: cannot write /proc/x")
    assert result.error.endswith("choose another place")
