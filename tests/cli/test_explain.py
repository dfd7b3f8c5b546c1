"""`export --explain`: the table, and what the manifest keeps of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from segdino_deploy import Bundle, export_model
from segdino_deploy.cli.folding import print_folding
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.manifest import FoldingRecord, StageCount
from tests.conftest import GOLDEN


def test_the_table_shows_both_sides_of_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    before = {"backbone": StageCount(operations=60, multiply_adds=3_000_000_000)}
    before["head"] = StageCount(operations=20, multiply_adds=1_000_000_000)
    after = {"backbone": StageCount(operations=40, multiply_adds=3_000_000_000)}
    after["head"] = StageCount(operations=10, multiply_adds=50_000_000)

    print_folding(FoldingRecord(rewrites={"B1": 1, "T1": 3}, before=before, after=after))

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["T1", "3", "3x3", "after", "upsampling,", "computed", "at", "patch", "resolution"] in lines
    assert ["head", "20", "10", "1.000", "0.050", "5.0%"] in lines
    assert ["all", "80", "50", "4.000", "3.050", "76.2%"] in lines


@pytest.mark.parametrize("explain", [True, False])
def test_the_manifest_keeps_what_was_folded(explain: bool, tmp_path: Path) -> None:
    options = ExportOptions(input_size=(32, 32))
    path = export_model(GOLDEN / "v1_paper.pth", tmp_path / "b.segdino", options, explain=explain).path

    folding = Bundle.open(path).manifest.folding

    assert folding is not None
    assert folding.rewrites["H1"] == 4
    assert (folding.before is not None) == explain
    if folding.before is not None:
        assert folding.after["head"].multiply_adds < folding.before["head"].multiply_adds
