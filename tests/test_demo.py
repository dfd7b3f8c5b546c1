"""The demo, whole, on the packaged example."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from segdino_deploy import Bundle
from segdino_deploy.demo import run_demo


def test_the_demo_runs_the_whole_path(tmp_path: Path) -> None:
    result = run_demo(tmp_path / "demo.segdino", rounds=1)

    rows = {row.name: row for row in result.bench.rows}
    assert {row.precision for row in rows.values()} == {"fp32", "fp16", "int8"}
    dice = {}
    for row in rows.values():
        assert row.accuracy is not None
        dice[row.name] = row.accuracy.summary["dice"].mean or 0
    for row in rows.values():
        assert abs(dice[row.name] - dice["torch-fp32"]) < (0.005 if row.precision == "int8" else 0.001)
    assert {"model.onnx", *(name for name in rows if name != "torch-fp32")} == set(result.verified)
    assert result.report.name == "index.html" and result.report.is_file()
    assert len(list(result.pictures.glob("*.overlay.png"))) == 12
    assert np.asarray(Image.open(result.sheet)).ndim == 3
    assert "report/report.json" in Bundle.open(tmp_path / "demo.segdino").manifest.files
