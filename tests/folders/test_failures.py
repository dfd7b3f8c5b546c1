"""What concerns one image is counted, and the others go on: also where its file changes or its store falters."""

from __future__ import annotations

import errno
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from segdino_deploy.engines.run.contract import Runner
from segdino_deploy.errors import InputError, MissingComponent, SegdinoDeployError
from segdino_deploy.folders import image as image_module
from segdino_deploy.folders import journal, pipeline
from segdino_deploy.folders.files import LocalFiles
from segdino_deploy.folders.jobs import Job, Target, plan_jobs
from segdino_deploy.folders.options import FolderOptions
from segdino_deploy.folders.pipeline import segment_jobs
from segdino_deploy.folders.records import ImageResult
from tests.folders.toy import Colours, contents, make_folder, predict

SECOND = "00002.png"  # the second image of its folder


def run(images: Path, output: Path, files: LocalFiles | None = None, **others: object) -> list[ImageResult]:
    results: list[ImageResult] = []
    jobs = plan_jobs([images], output)
    segment_jobs(Colours(), jobs, FolderOptions(workers=2), lambda _, r: results.append(r), files=files, **others)  # type: ignore[arg-type]
    return results


def failures(results: list[ImageResult]) -> dict[str, str]:
    return {Path(result.image).name: result.error for result in results if result.status == "failed"}


class Faltering(LocalFiles):
    """A store that gives one image once, as `StoreFiles` would."""

    def __init__(self, output: Path) -> None:
        super().__init__(output)
        self._reads: Counter[str] = Counter()

    @contextmanager
    def local_copy(self, job: Job) -> Iterator[Path]:
        self._reads[job.name] += 1
        if job.image.name == SECOND and self._reads[job.name] > 1:
            raise InputError(f"{job.name}: cannot be read (503 slow down)")
        yield job.image


def test_an_image_that_its_store_gives_only_once_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = make_folder(tmp_path / "in", 6)
    monkeypatch.setattr(pipeline, "MAX_HELD_BYTES", 0)  # every image is read a second time, for its overlay

    results = run(images, tmp_path / "out", Faltering(tmp_path / "out"))

    assert failures(results) == {SECOND: "part0/00002.png: cannot be read (503 slow down)"}
    assert len(contents(tmp_path / "out")) == 2 * 5


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "not enough memory to decode it; add --mode tile"),
        (RecursionError("too deep"), r"cannot be read (RecursionError: too deep)"),
        (FileNotFoundError(errno.ENOENT, "gone"), "no such file"),
    ],
)
def test_whatever_the_second_decoding_stumbles_over_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    images = make_folder(tmp_path / "in", 6)
    monkeypatch.setattr(pipeline, "MAX_HELD_BYTES", 0)
    read_rgb = pipeline.read_rgb

    def stumble(path: Path) -> np.ndarray:
        if path.name == SECOND:
            raise error
        return read_rgb(path)

    monkeypatch.setattr(pipeline, "read_rgb", stumble)

    results = run(images, tmp_path / "out")

    assert failures(results) == {SECOND: f"{images / 'part0' / SECOND}: {said}"}
    assert len(contents(tmp_path / "out")) == 2 * 5


def test_whatever_the_first_decoding_stumbles_over_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = make_folder(tmp_path / "in", 3)
    read_rgb = image_module.read_rgb

    def stumble(path: Path) -> np.ndarray:
        if path.name == SECOND:
            raise RecursionError("too deep")
        return read_rgb(path)

    monkeypatch.setattr(image_module, "read_rgb", stumble)

    assert failures(run(images, tmp_path / "out")) == {
        SECOND: f"{images / 'part0' / SECOND}: cannot be read (RecursionError: too deep)"
    }


class Opened:
    """An image taken aside, as large as it is."""

    size_hw = (24, 40)

    def __init__(self, job: Job, others: weakref.WeakSet[Opened]) -> None:
        self._job, self._others = job, others
        self.is_done = False
        others.add(self)

    def segment(self, _: Runner) -> list[tuple[Target, dict[int, int]]]:
        assert not [other for other in self._others if other.is_done]
        self.is_done = True
        self._job.targets[0].mask.parent.mkdir(parents=True, exist_ok=True)
        self._job.targets[0].mask.write_bytes(b"mask")
        return [(self._job.targets[0], {0: 960})]


class Takes:
    """Takes every image aside; stumbles over one of them."""

    mask_suffixes = (".png",)

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.opened: weakref.WeakSet[Opened] = weakref.WeakSet()

    def open(self, job: Job) -> Opened:
        if self._error is not None and job.image.name == SECOND:
            raise self._error
        return Opened(job, self.opened)


def test_an_image_taken_aside_is_let_go_of_when_it_is_done(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 12)
    options = FolderOptions(workers=2, overlay=False)
    done: list[str] = []

    segment_jobs(
        Colours(), plan_jobs([images], tmp_path / "out"), options, lambda _, r: done.append(r.status), aside=Takes()
    )

    assert done == ["ok"] * 12


def test_whatever_opening_an_image_to_take_aside_stumbles_over_is_counted(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 3)
    options = FolderOptions(overlay=False)
    results: list[ImageResult] = []

    segment_jobs(
        Colours(),
        plan_jobs([images], tmp_path / "out"),
        options,
        lambda _, result: results.append(result),
        aside=Takes(RecursionError("too deep")),
    )

    assert failures(results) == {SECOND: f"{images / 'part0' / SECOND}: cannot be read (RecursionError: too deep)"}


@pytest.mark.parametrize("error", [MissingComponent("no such library"), SegdinoDeployError("no space left")])
def test_what_concerns_every_image_ends_the_run(tmp_path: Path, error: SegdinoDeployError) -> None:
    images = make_folder(tmp_path / "in", 3)

    with pytest.raises(type(error), match=str(error)):
        segment_jobs(
            Colours(), plan_jobs([images], tmp_path / "out"), FolderOptions(), lambda *_: None, aside=Takes(error)
        )


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_named(tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    images = make_folder(tmp_path / "in", 1)
    opened: list[object] = []

    def flock(file: object, _: int) -> None:
        opened.append(file)
        raise OSError(code, "no locks")

    monkeypatch.setattr(journal.fcntl, "flock", flock)

    with pytest.raises(InputError, match=rf"{tmp_path / 'out'}: cannot be locked \(.*no locks\); choose another -o"):
        predict(images, tmp_path / "out")
    assert [file.closed for file in opened] == [True]  # type: ignore[attr-defined]
