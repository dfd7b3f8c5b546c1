"""The stored page follows from the stored runs, and these are the suite's cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from segdino_deploy.benchmarks.scale.__main__ import main
from segdino_deploy.benchmarks.scale.report import render_directory
from segdino_deploy.benchmarks.scale.suite import read_suite

BENCHMARKS = Path(__file__).parent.parent.parent.parent / "benchmarks"
SUITE = BENCHMARKS / "scale.toml"
RESULTS = BENCHMARKS / "results" / "scale"


def test_the_page_is_rendered_from_the_stored_runs() -> None:
    assert (BENCHMARKS / "SCALE.md").read_text() == render_directory(RESULTS)


def test_every_stored_run_is_a_case_of_the_suite() -> None:
    assert {case.name for case in read_suite(SUITE).cases} == {path.stem for path in RESULTS.glob("*.json")}


def test_data_that_is_not_there_is_told_before_anything_long(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(SUITE), "--data", str(tmp_path)]) == 2
    assert "has no train/image/" in capsys.readouterr().err
