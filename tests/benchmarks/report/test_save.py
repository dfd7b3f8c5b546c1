"""Where a report is stored: the folder that was named is complete whatever becomes of the bundle, and nothing stale."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from segdino_deploy import Bundle
from segdino_deploy.benchmarks.report.save import save_report
from segdino_deploy.errors import InputError, SegdinoDeployError
from tests.benchmarks.report.example import make_minimal

Copy = Callable[..., Bundle]


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "error",
    [
        InputError("no permission to write it: choose another place"),
        SegdinoDeployError("no space left to write it: free some and run again"),
        OSError(errno.ENOLCK, "No locks available"),
    ],
)
def test_a_bundle_that_cannot_be_written_is_a_note_where_the_report_went_elsewhere(
    error: Exception, bundle_copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundle_copy("v1_convt")
    notes: list[str] = []

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(bundle, "update", fail)

    page = save_report(make_minimal(), tmp_path, bundle, tmp_path / "out", notes.append)

    assert page.parent == tmp_path / "out" and page.is_file()
    (note,) = notes
    assert note.startswith(f"note: the bundle does not have this report, {tmp_path / 'out'} has: ")
    assert str(error).partition(":")[0] in note
    with pytest.raises(type(error)):
        save_report(make_minimal(), tmp_path, bundle, None, notes.append)


def test_the_named_folder_loses_the_former_reports_files_and_nothing_else(bundle_copy: Copy, tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    bundle, out = bundle_copy("v1_convt"), tmp_path / "out"
    case = {"image": "a.png", "engine_picture": "images/e/1-a.png", "truth_picture": None}
    others = {"reference_picture": "notes.txt", "disagreement_picture": "images/../mine.png"}
    former = {"schema_version": 1, "rows": [{"worst": [case | others]}]}
    theirs = ("notes.txt", "mine.png", "images/mine.png", "images/e/mine.png", "figures/mine.png", "report.txt")
    for name in (*theirs, "images/e/1-a.png", "figures/changes.png", "index.html"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("old")
    (out / "report.json").write_text(json.dumps(former))

    save_report(make_minimal(), tmp_path, bundle, out)

    left = files_below(out)
    assert set(theirs) <= left
    assert not {"images/e/1-a.png", "figures/changes.png"} & left
    assert {"report.json", "report.md", "index.html"} <= left
    assert (out / "index.html").read_text() != "old"


@pytest.mark.parametrize("content", [None, b"\xff", b"[]", b'{"rows": [{"worst": [{"a_picture": "images/a.png"}]}]}'])
def test_a_folder_without_a_former_report_loses_nothing(
    content: bytes | None, bundle_copy: Copy, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for name in ("images/a.png", "figures/layers.png"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("mine")
    if content is not None:
        (out / "report.json").write_bytes(content)

    save_report(make_minimal(), tmp_path, bundle_copy("v1_convt"), out)

    assert {"images/a.png", "figures/layers.png"} <= files_below(out)


def test_a_link_out_of_the_named_folder_is_not_followed(bundle_copy: Copy, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.png").write_text("mine")
    (out / "images").symlink_to(elsewhere)
    rows = [{"worst": [{"engine_picture": "images/a.png"}]}]
    (out / "report.json").write_text(json.dumps({"schema_version": 1, "rows": rows}))

    save_report(make_minimal(), tmp_path, bundle_copy("v1_convt"), out)

    assert (elsewhere / "a.png").read_text() == "mine"
