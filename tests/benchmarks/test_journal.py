"""Scores survive a kill, and are taken over only by a run of the same."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from segdino_deploy.benchmarks.journal import Journal
from segdino_deploy.errors import InputError

ENGINES = {"reference": "aa", "engine": "bb"}
THREE = ["one", "two", "three"]  # digests of samples


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "partial.jsonl"
    with pytest.raises(KeyboardInterrupt), Journal(path, "key", ENGINES, THREE) as journal:
        journal.add("reference", 0, {"dice": 0.5, "hd95": None})
        journal.add("engine", 0, {"dice": 0.25})
        raise KeyboardInterrupt

    with Journal(path, "key", ENGINES, THREE) as journal:
        assert journal.resumed == 2
        assert journal.has("reference", 0) and journal.has("engine", 0)
        assert not journal.has("engine", 1)
        journal.add("reference", 2, {"dice": 0.75, "hd95": 3.0})
        assert journal.per_image("reference") == {"dice": [0.5, None, 0.75], "hd95": [None, None, 3.0]}
        journal.finish()

    assert not path.exists()


def test_scores_go_with_their_sample_whatever_became_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "partial.jsonl"
    with Journal(path, "key", ENGINES, THREE) as journal:
        for index, dice in enumerate((0.25, 0.5, 0.75)):
            journal.add("engine", index, {"dice": dice})

    with Journal(path, "key", ENGINES, ["new", "three", "repaired", "one"]) as journal:
        assert journal.resumed == 2
        assert [journal.has("engine", index) for index in range(4)] == [False, True, False, True]
        assert journal.per_image("engine") == {"dice": [None, 0.75, None, 0.25]}


def test_copies_of_one_sample_all_have_its_scores(tmp_path: Path) -> None:
    path = tmp_path / "partial.jsonl"
    with Journal(path, "key", ENGINES, THREE) as journal:
        journal.add("engine", 1, {"dice": 0.5})

    with Journal(path, "key", ENGINES, ["two", "one", "two"]) as journal:
        assert journal.per_image("engine") == {"dice": [0.5, None, 0.5]}


@pytest.mark.parametrize(
    "line",
    [
        b"[1, 2]",
        b"null",
        b"7",
        b'"text"',
        b"\xff\xfe\x00",
        b"\x00" * 64,
        b'{"of": "bb"}',
        b'{"of": ["bb"], "sample": "two", "values": {}}',
        b'{"of": "bb", "sample": "two", "values": [1]}',
        b'{"of": "bb", "sample": "two", "values": {"dice": "high"}}',
    ],
)
def test_a_line_that_no_run_wrote_is_passed_over(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "partial.jsonl"
    with Journal(path, "key", ENGINES, THREE) as journal:
        journal.add("engine", 0, {"dice": 0.5})
    path.write_bytes(path.read_bytes() + line + b"\n")
    with Journal(path, "key", ENGINES, THREE) as journal:
        assert journal.per_image("engine") == {"dice": [0.5, None, None]}
        assert not journal.has("engine", 1)

    path.write_bytes(line)  # in the place of the first line it is no journal at all
    with Journal(path, "key", ENGINES, THREE) as journal:
        assert journal.resumed == 0


def test_a_journal_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "partial.jsonl"
    path.write_text("{}")

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", forbidden)

    with pytest.raises(InputError, match=r"partial\.jsonl"):
        Journal(path, "key", ENGINES, THREE)


def test_a_line_that_a_kill_cut_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "partial.jsonl"
    with Journal(path, "key", ENGINES, THREE[:2]) as journal:
        journal.add("engine", 0, {"dice": 0.5})
        journal.add("engine", 1, {"dice": 0.5})
    content = path.read_bytes()
    path.write_bytes(content[:-8])

    with Journal(path, "key", ENGINES, THREE[:2]) as journal:
        assert journal.has("engine", 0)
        assert not journal.has("engine", 1)
        journal.add("engine", 1, {"dice": 0.25})
    with Journal(path, "key", ENGINES, THREE[:2]) as journal:  # what was written behind the cut line is whole
        assert journal.per_image("engine") == {"dice": [0.5, 0.25]}


@pytest.mark.parametrize(
    ("key", "identities", "resumed"),
    [("other", ENGINES, 0), ("key", {**ENGINES, "engine": "cc"}, 1), ("key", {**ENGINES, "third": "dd"}, 2)],
    ids=["other reference", "engine built anew", "engine added"],
)
def test_scores_are_taken_over_of_the_same_reference_and_engines_only(
    key: str, identities: dict[str, str], resumed: int, tmp_path: Path
) -> None:
    path = tmp_path / "partial.jsonl"
    with Journal(path, "key", ENGINES, THREE[:1]) as journal:
        journal.add("reference", 0, {"dice": 0.5})
        journal.add("engine", 0, {"dice": 0.25})

    with Journal(path, key, identities, THREE[:1]) as journal:
        assert journal.resumed == resumed


def test_infinite_and_undefined_values_are_none(tmp_path: Path) -> None:
    with Journal(tmp_path / "partial.jsonl", "key", ENGINES, THREE[:1]) as journal:
        journal.add("engine", 0, {"hd95": float("inf"), "ber": float("nan")})

        assert journal.per_image("engine") == {"hd95": [None], "ber": [None]}


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(InputError, match="file"):
        Journal(tmp_path / "file" / "partial.jsonl", "key", ENGINES, THREE[:1])


def test_a_run_that_ended_before_its_first_score_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "partial.jsonl"

    with pytest.raises(KeyboardInterrupt), Journal(path, "key", ENGINES, THREE):
        raise KeyboardInterrupt

    assert not path.exists()
