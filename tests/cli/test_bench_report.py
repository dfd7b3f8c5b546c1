"""`bench --report DIR` of a bundle that cannot be written: the folder has the report, the verdict decides the code."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from segdino_deploy import Bundle
from segdino_deploy.atomic import disk_errors
from segdino_deploy.benchmarks import bench
from segdino_deploy.benchmarks.result import BenchResult
from tests.benchmarks.report.example import make_example
from tests.cli.conftest import Cli

Copy = Callable[..., Bundle]
REPORT = ("report.json", "report.md", "index.html")


@pytest.fixture
def read_only(bundle_copy: Copy, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle on a file system without writing."""
    bundle = bundle_copy("v1_convt")

    def update(self: Bundle, *_: object) -> None:
        with disk_errors(self.path):
            raise OSError(errno.EROFS, "Read-only file system", str(self.path))

    monkeypatch.setattr(Bundle, "update", update)
    return bundle.path


@pytest.fixture(params=[True, False], ids=["passed", "missed"])
def passed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether all engines keep the budget in what the run measures."""
    example = make_example()
    verdicts = [verdict.model_copy(update={"passed": request.param}) for verdict in example.result.verdicts]

    def run_bench(_bundle: Bundle, _options: object, directory: Path, *_: object) -> BenchResult:
        for name, content in example.pictures.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_bytes(content)
        return example.result.model_copy(update={"verdicts": verdicts})

    monkeypatch.setattr(bench, "run_bench", run_bench)
    return bool(request.param)


def test_the_verdict_decides_where_the_report_is_in_the_named_folder(
    passed: bool, read_only: Path, cli: Cli, tmp_path: Path
) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")

    result = cli("bench", read_only, "--report", tmp_path / "out")

    assert result.code == (0 if passed else 1)
    (note,) = (line for line in result.stderr.splitlines() if line.startswith("note: "))
    assert "the bundle does not have this report" in note and "no permission to write" in note
    assert f"report: {tmp_path / 'out' / 'index.html'}" in result.stdout
    assert all((tmp_path / "out" / name).is_file() for name in REPORT)


def test_without_a_named_folder_it_is_an_error(passed: bool, read_only: Path, cli: Cli) -> None:
    del passed
    result = cli("bench", read_only)

    assert result.code == 2
    assert "no permission to write" in result.error


def test_ctrl_c_says_where_the_scores_are(cli: Cli, bundle_copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = bundle_copy("v1_convt")

    def interrupted(_bundle: Bundle, *_: object) -> BenchResult:
        bundle.path.with_name(f"{bundle.path.name}.bench-partial-12345678.jsonl").write_text("")
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "run_bench", interrupted)
    result = cli("bench", bundle.path)

    assert result.code == 130
    assert f"kept in {bundle.path.name}.bench-partial-12345678.jsonl: the same command goes on" in result.stderr


@pytest.mark.parametrize("place", ["a file", "inside the bundle"])
def test_a_report_that_could_not_be_stored_is_refused_before_anything_is_measured(
    place: str, cli: Cli, bundle_copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundle_copy("v1_convt")
    monkeypatch.setattr(bench, "run_bench", None)
    (tmp_path / "file").write_text("")
    named = tmp_path / "file" if place == "a file" else bundle.path / "mine"

    result = cli("bench", bundle.path, "--report", named)

    assert result.code == 2
    assert f"--report: {named}" in result.error
    assert not (bundle.path / "mine").exists()
