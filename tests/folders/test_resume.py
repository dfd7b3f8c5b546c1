"""Going on with an interrupted run: the same files as of one that nothing disturbed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segdino_deploy.errors import InputError
from segdino_deploy.folders.jobs import plan_jobs
from segdino_deploy.folders.journal import Head, Journal
from segdino_deploy.folders.options import FolderOptions
from segdino_deploy.folders.predict import predict_folder
from segdino_deploy.folders.recording import Reports
from tests.folders.toy import IDENTITY, Colours, contents, make_folder, predict

JOURNAL = ".predict.jsonl"


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_files(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 150, size_wh=(160, 120))
    predict(images, tmp_path / "undisturbed")
    output = tmp_path / "out"
    call = [sys.executable, "-m", "tests.folders.toy", str(images), str(output), "resume"]
    rng = random.Random(0)
    progress = []
    for _ in range(4):
        with subprocess.Popen(call) as process:
            before = _lines(output)
            while process.poll() is None and _lines(output) <= before + 3:  # it is at work
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.2))
            process.send_signal(signal.SIGKILL)
        progress.append(_lines(output))
    leftover = output / "part0" / ".00000.png.4242.tmp"  # as a kill leaves one now and then
    leftover.write_bytes(b"half a file")
    foreign = output / "part0" / ".notes.4242.tmp"
    foreign.write_bytes(b"not ours")

    assert subprocess.run(call, check=False).returncode == 0

    assert foreign.read_bytes() == b"not ours"
    foreign.unlink()
    assert progress == sorted(progress)
    assert progress[0] < 150  # it was killed in its middle
    assert contents(output) == contents(tmp_path / "undisturbed")


def _lines(output: Path) -> int:
    journal = output / JOURNAL
    return journal.read_bytes().count(b"\n") if journal.is_file() else 0


@pytest.mark.own_process
def test_ctrl_c_finishes_what_is_under_way_and_keeps_it(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 60)
    output = tmp_path / "out"

    class Interrupted(Colours):
        def _run(self, image_nhwc):  # type: ignore[no-untyped-def]
            if len(self.batches) == 5:
                os.kill(os.getpid(), signal.SIGINT)
            return super()._run(image_nhwc)

    with pytest.raises(KeyboardInterrupt):
        predict(images, output, Interrupted())

    records = [json.loads(line) for line in (output / JOURNAL).read_text().splitlines()[1:]]
    assert {name for record in records for head in record["heads"] for name in (head["mask"], head["overlay"])} == set(
        contents(output)
    )
    runner = Colours()
    summary = predict(images, output, runner, resume=True)
    assert summary.resumed == len(records)
    assert sum(runner.batches) < 60
    predict(images, tmp_path / "undisturbed")
    assert contents(output) == contents(tmp_path / "undisturbed")


def test_only_what_is_new_changed_failed_or_gone_is_done_again(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 8)
    output = tmp_path / "out"
    one = FolderOptions(batch_size=1)
    broken = images / "part0" / "00002.png"
    content = broken.read_bytes()
    broken.write_bytes(b"")
    assert predict(images, output, options=one).failed == 1

    broken.write_bytes(content)  # repaired
    (output / "part1" / "00001.png").unlink()  # its mask is gone
    make_folder(tmp_path / "in", 9)  # writes all anew as they were, and one more
    changed = images / "part1" / "00003.png"
    changed.write_bytes((images / "part0" / "00000.png").read_bytes())
    runner = Colours()
    summary = predict(images, output, runner, resume=True, options=one)
    assert (summary.done, summary.resumed, len(runner.batches)) == (9, 5, 4)
    predict(images, tmp_path / "undisturbed", options=one)
    assert contents(output) == contents(tmp_path / "undisturbed")


def test_batches_are_the_same_after_an_interruption(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 10)
    output = tmp_path / "out"
    predict(images, output, resume=True)
    (output / "part0" / "00004.png").unlink()
    runner = Colours()

    predict(images, output, runner, resume=True)

    assert runner.batches == [4]  # the batch that the image was in, whole


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"identity": "1" * 64}, r"was written with another engine \(sha256\): 0000000000000000, now 1111111111111111"),
        ({"options": FolderOptions(overlay=False)}, "was written with another --overlay: yes, now no"),
        ({"options": FolderOptions(batch_size=2)}, "was written with another --batch-size: 4, now 2"),
        (
            {"more_options": {"--mode": "tile", "--mask-format": "by size"}},
            "was written with another --mode: resize, now tile",
        ),
    ],
)
def test_results_of_two_kinds_are_never_mixed(change: dict[str, object], said: str, tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 5)
    predict(images, tmp_path / "out", resume=True)
    before = contents(tmp_path / "out")
    same = {"identity": IDENTITY, "options": FolderOptions(), "resume": True}
    jobs = plan_jobs([images], tmp_path / "out")

    with pytest.raises(InputError, match=said + "; run with the same again, choose another -o, or leave --resume out"):
        predict_folder(Colours(), jobs, **{**same, **change})  # type: ignore[arg-type]

    assert contents(tmp_path / "out") == before
    assert predict_folder(Colours(), jobs, **same).resumed == 5  # type: ignore[arg-type]


def test_a_line_that_a_kill_has_cut_costs_one_image(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 6)
    output = tmp_path / "out"
    one = FolderOptions(batch_size=1)
    predict(images, output, resume=True, options=one)
    journal = output / JOURNAL
    journal.write_bytes(journal.read_bytes()[:-40])

    runner = Colours()
    assert predict(images, output, runner, resume=True, options=one).resumed == 5
    assert runner.batches == [1]
    assert predict(images, output, Colours(), resume=True, options=one).resumed == 6


def test_a_journal_that_is_none_is_refused(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / JOURNAL).write_text("something else\n")

    with pytest.raises(InputError, match="is not a journal of this version"):
        predict(images, tmp_path / "out", resume=True)


def test_two_runs_do_not_write_to_one_folder(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 4)
    said: list[str] = []

    class Second(Colours):
        def _run(self, image_nhwc):  # type: ignore[no-untyped-def]
            with pytest.raises(InputError, match="another run is writing there") as caught:
                predict(images, tmp_path / "out")
            said.append(str(caught.value))
            return super()._run(image_nhwc)

    predict(images, tmp_path / "out", Second())

    assert len(said) == 1


def test_a_run_without_failures_leaves_only_its_results(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 4)

    predict(images, tmp_path / "out")

    assert not list((tmp_path / "out").rglob(".*"))


@pytest.mark.parametrize(
    ("options", "images", "is_told"),
    [
        (FolderOptions(workers=2), "in", True),
        (FolderOptions(overlay=False), "in", False),
        (FolderOptions(), "x", False),
    ],
)
def test_only_what_resume_would_go_on_with_is_told(
    tmp_path: Path, options: FolderOptions, images: str, is_told: bool
) -> None:
    first = make_folder(tmp_path / "in", 3)
    predict(first, tmp_path / "out", resume=True)
    (make_folder(tmp_path / "x", 1) / "part0" / "00000.png").rename(tmp_path / "x" / "other.png")
    notes: list[str] = []

    jobs = plan_jobs([tmp_path / images], tmp_path / "out")
    predict_folder(Colours(), jobs, options, IDENTITY, reports=Reports(on_note=notes.append))

    assert [note.endswith("--resume would have gone on with it") for note in notes] == [True] * is_told


def test_a_run_that_does_not_begin_leaves_the_journal_as_it_was(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 3)
    jobs = plan_jobs([images], tmp_path / "out")
    head = Head(tool_version="0", engine="test fp32", engine_sha256=IDENTITY, options={})
    with Journal(head, jobs, resume=False):
        pass
    assert not (tmp_path / "out" / JOURNAL).exists()
    predict(images, tmp_path / "out", resume=True)
    before = (tmp_path / "out" / JOURNAL).read_bytes()

    with pytest.raises(InputError, match="no cluster"), Journal(head, jobs, resume=False):
        raise InputError("no cluster")

    assert (tmp_path / "out" / JOURNAL).read_bytes() == before
