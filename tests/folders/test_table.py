"""The table of a run: one row per image, in the order of the images."""

from __future__ import annotations

import csv
import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdino_deploy.errors import InputError, MissingComponent
from segdino_deploy.folders import table as tables
from segdino_deploy.folders.jobs import plan_jobs
from segdino_deploy.folders.options import FolderOptions
from tests.folders.toy import make_folder, predict


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = make_folder(tmp_path / "in", 9)
    (folder / "part0" / "00002.png").write_bytes(b"no picture, \n really")
    return folder


def test_rows_are_what_the_files_hold(images: Path, tmp_path: Path) -> None:
    predict(images, tmp_path / "out", table=tmp_path / "new" / "areas.csv")

    with (tmp_path / "new" / "areas.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [job.name for job in plan_jobs([images], Path("x"))]
    for row in rows:
        path = images / row["path"]
        assert row["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        if path.stem == "00002":
            assert (row["status"], row["width"], row["area_px.0"], row["run_ms"]) == ("failed", "", "", "")
            assert "not an image that can be read" in row["error"]
            continue
        mask = np.asarray(Image.open(tmp_path / "out" / row["path"]))
        assert (row["status"], row["error"], row["width"], row["height"]) == ("ok", "", "40", "24")
        assert [int(row[f"area_px.{value}"]) for value in range(3)] == np.bincount(mask.ravel(), minlength=3).tolist()
        assert all(float(row[f"{stage}_ms"]) >= 0 for stage in ("decode", "resize", "run", "finish"))


def test_parquet_holds_the_same_with_types(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(tables, "ROWS_PER_GROUP", 4)
    predict(images, tmp_path / "out", table=tmp_path / "a.csv", resume=True)
    predict(images, tmp_path / "out", table=tmp_path / "a.parquet", resume=True)

    read = parquet.read_table(tmp_path / "a.parquet")
    assert parquet.ParquetFile(tmp_path / "a.parquet").num_row_groups == 3
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert read.column_names == list(lines[0])
    assert str(read.schema.field("area_px.1").type) == "int64"
    texts = [{key: "" if value is None else str(value) for key, value in row.items()} for row in read.to_pylist()]
    done = [row["status"] == "ok" for row in lines]  # the one that failed was tried again
    assert [text for text, ok in zip(texts, done, strict=True) if ok] == [row for row in lines if row["status"] == "ok"]


def test_a_resumed_run_has_the_rows_of_both_in_order(images: Path, tmp_path: Path) -> None:
    one = FolderOptions(batch_size=1)
    predict(images, tmp_path / "out", resume=True, options=one)
    make_folder(images, 3)  # repairs the one that failed
    predict(images, tmp_path / "out", resume=True, options=one, table=tmp_path / "a.csv")

    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [job.name for job in plan_jobs([images], Path("x"))]
    assert {row["status"] for row in rows} == {"ok"}


def test_a_table_that_cannot_be_written_is_refused_before_any_work(images: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, said in (("a.xlsx", "neither .csv nor .parquet"), ("file/a.csv", "a file stands where a folder")):
        with pytest.raises(InputError, match=said):
            predict(images, tmp_path / "out", table=tmp_path / path)
    assert not (tmp_path / "out").exists()


def test_parquet_without_pyarrow_names_the_extra(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr("segdino_deploy.requirements.has_module", lambda _: False)

    with pytest.raises(MissingComponent, match=r"pip install 'segdino-deploy\[table\]'"):
        predict(images, tmp_path / "out", table=tmp_path / "a.parquet")


def test_names_that_are_no_text_are_written_all_the_same(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 1)
    odd = images / "\udcff.png"
    Image.new("RGB", (8, 8)).save(odd)

    summary = predict(images, tmp_path / "out", table=tmp_path / "a.csv")

    assert summary.done == 2
    assert (tmp_path / "out" / "\udcff.png").is_file()
    assert "\\udcff.png,ok" in (tmp_path / "a.csv").read_text()
