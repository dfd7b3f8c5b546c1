"""Tables are generated from stored runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from segdino_deploy.benchmarks.bench import BenchResult
from segdino_deploy.benchmarks.report import cells, columns, render_directory

ROOT = Path(__file__).parent.parent.parent
STORED = sorted((ROOT / "benchmarks" / "results").glob("*.json"))


def test_results_page_is_what_the_stored_runs_render_to() -> None:
    assert STORED
    assert (ROOT / "benchmarks" / "RESULTS.md").read_text() == render_directory(ROOT / "benchmarks" / "results")


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_stored_summaries_follow_from_the_stored_samples(path: Path) -> None:
    result = BenchResult.model_validate_json(path.read_bytes())

    for row in result.rows:
        assert len(row.engine_only.samples_ms) == result.rounds
        assert row.engine_only.p50_ms == pytest.approx(np.median(row.engine_only.samples_ms), abs=1e-3)
        assert len(cells(row, result)) == len(columns(result))


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_stored_engines_keep_the_references_dice(path: Path) -> None:
    """fp32 to four decimals, 16-bit types within .001."""
    rows = {row["name"]: row for row in json.loads(path.read_text())["rows"]}
    reference = rows["torch-fp32"]["scores"]["dice"]

    for row in rows.values():
        if row["precision"] == "fp32":
            assert round(row["scores"]["dice"], 4) == round(reference, 4)
        elif row["precision"] in ("fp16", "bf16"):
            assert abs(row["scores"]["dice"] - reference) < 1e-3


def test_readme_states_the_dice_of_the_stored_training() -> None:
    dice = json.loads((ROOT / "examples" / "mri" / "training.json").read_text())["test_dice_white_matter_256"]

    assert f"Dice of {dice} for white matter" in (ROOT / "README.md").read_text()
