"""Writing a repository that is interrupted, refused half-way, or done by two at once."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from segdino_deploy.errors import InputError, SegdinoDeployError
from segdino_deploy.triton import repository as module
from segdino_deploy.triton.configuration import Configuration
from segdino_deploy.triton.options import RepositoryOptions
from segdino_deploy.triton.plan import EngineChoice, plan_models
from segdino_deploy.triton.repository import WrittenModel, write_repository
from tests.triton.conftest import ONNX, Write
from tests.triton.simulated_models import ModelRepository


class Killed(BaseException):
    """No handler of the code under test may see it and go on."""


@contextmanager
def killed_at(moment: int) -> Iterator[None]:
    """From so many changes of the disk on nothing is changed any more, as after a kill -9: nothing is tidied up."""
    changes = 0

    def counted(function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            nonlocal changes
            changes += 1
            if changes >= moment:
                raise Killed
            return function(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, names in (
            (os, ("fsync", "unlink", "rmdir")),  # of shutil.rmtree, too
            (shutil, ("copyfile",)),
            (Path, ("rename", "replace", "mkdir", "unlink", "rmdir")),
        ):
            for name in names:
                patch.setattr(owner, name, counted(getattr(owner, name)))
        yield


def served_batches(repository: Path) -> list[int]:
    """What tells the two models of the next test apart, of every model that a server loads."""
    models = ModelRepository(repository).models if repository.exists() else {}
    return [model.config.max_batch_size for model in models.values()]


def assert_holds_what_is_served(folder: Path, version: int, max_batch_size: int = 0) -> None:
    """The model that a server loads, its files, and nothing else."""
    model = ModelRepository(folder.parent).models[folder.name]
    assert list(model.versions) == [version]
    assert model.config.max_batch_size == max_batch_size
    paths = [path for path in folder.rglob("*") if path.is_file() or not any(path.iterdir())]
    assert {path.relative_to(folder).as_posix() for path in paths} == model.files


@pytest.mark.parametrize("is_there", [False, True])
def test_a_kill_at_any_moment_leaves_what_was_served_or_what_is_new(
    is_there: bool, fixed: Path, dynamic: Path, tmp_path: Path
) -> None:
    """A model appears, or takes the place of one with other inputs, labels and warm-up. The run after it is killed,
    too; what is written then, be it the one or the other, finds nothing of the two that would stay.
    """
    options, choice = RepositoryOptions(), EngineChoice(ONNX)
    (old,) = plan_models([fixed], choice, options, "model")
    (new,) = plan_models([dynamic], choice, options, "model")
    before = tmp_path / "before"
    if is_there:
        write_repository(before, [old], options)
    left = []
    for moment in range(1, 200):
        repository = tmp_path / str(moment) / "repository"
        if is_there:
            shutil.copytree(before, repository)
        try:
            with killed_at(moment):
                write_repository(repository, [new], options)
        except Killed:
            left.append(served_batches(repository))
        with suppress(Killed), killed_at(1 + moment % 6):  # while it tidies up
            write_repository(repository, [new], options)
        (written,) = write_repository(repository, [(new, old)[moment % 2]], options)
        assert_holds_what_is_served(repository / "model", written.version, (4, 0)[moment % 2])
        assert [entry.name for entry in repository.parent.iterdir()] == ["repository"]
        shutil.rmtree(repository.parent)
        if len(left) < moment:
            break

    possible = ([0] if is_there else [], [4])
    assert left[0] == possible[0]
    assert all(served in possible for served in left)
    assert left[-1] == [4]
    assert len(left) > 8


def test_a_disk_that_is_full_at_the_last_moment_leaves_what_was_served_and_nothing_else(
    two_precisions: Path, write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = write(two_precisions, ONNX)
    replace = Path.replace

    def full(path: Path, target: Path) -> Path:
        if Path(target).name == "config.pbtxt":
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(SegdinoDeployError, match="no space left to write"):
            write(two_precisions, "onnxruntime-fp16")

    assert_holds_what_is_served(first.path, 1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["repository"]


def test_a_numbered_folder_that_somebody_else_put_there_stays(
    two_precisions: Path, write: Write, tmp_path: Path
) -> None:
    first = write(two_precisions, ONNX)
    (first.path / "7").mkdir()
    (first.path / "7" / "model.onnx").write_bytes(b"mine")
    for moment in range(1, 60, 7):
        with suppress(Killed), killed_at(moment):
            write(two_precisions, "onnxruntime-fp16")

    written = write(two_precisions, ONNX)

    assert (first.path / "7" / "model.onnx").read_bytes() == b"mine"
    shutil.rmtree(first.path / "7")
    assert_holds_what_is_served(first.path, written.version)
    assert [entry.name for entry in tmp_path.iterdir()] == ["repository"]


def test_who_waited_for_a_writer_that_was_refused_writes_a_repository_of_its_own(
    fixed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first one made the folder and takes it away again, while the second one waits for its turn in it."""
    options, repository = RepositoryOptions(), tmp_path / "repository"
    planned = plan_models([fixed], EngineChoice(ONNX), options)
    waits = threading.Event()
    lock, make = fcntl.flock, module.configure

    def lock_and_tell(descriptor: int, operation: int) -> None:
        if threading.current_thread() is not threading.main_thread():
            waits.set()
        lock(descriptor, operation)

    with ThreadPoolExecutor(1) as pool:
        seconds: list[Future[list[WrittenModel]]] = []

        def refuse_the_first(*arguments: Any) -> Configuration:
            if threading.current_thread() is threading.main_thread():
                seconds.append(pool.submit(write_repository, repository, planned, options))
                assert waits.wait(20)
                raise InputError("no")
            return make(*arguments)

        monkeypatch.setattr(fcntl, "flock", lock_and_tell)
        monkeypatch.setattr(module, "configure", refuse_the_first)
        with pytest.raises(InputError, match="no"):
            write_repository(repository, planned, options)
        ((written,),) = [second.result(timeout=20) for second in seconds]

    assert_holds_what_is_served(written.path, 1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["repository"]


def test_what_was_refused_takes_its_folder_away_before_anybody_else_is_let_in(
    fixed: Path, write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rmdir, taken_away = Path.rmdir, []

    def rmdir_while_locked(path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)
        taken_away.append(path)
        rmdir(path)

    monkeypatch.setattr(Path, "rmdir", rmdir_while_locked)
    monkeypatch.setattr(shutil, "copyfile", lambda _, target: Path(target).write_bytes(b"half"))
    with pytest.raises(InputError, match="was changed while it was copied"):
        write(fixed, ONNX)

    assert taken_away == [tmp_path / "repository"]
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line_and_leaves_nothing(
    fixed: Path, write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(SegdinoDeployError, match="no space left to write"):
        write(fixed, "onnxruntime-fp32")

    assert list(tmp_path.iterdir()) == []


def test_a_copy_that_differs_from_the_bundle_is_refused(
    fixed: Path, write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "copyfile", lambda _, target: Path(target).write_bytes(b"half"))
    with pytest.raises(InputError, match=r"engines/onnxruntime-fp32.onnx was changed while it was copied"):
        write(fixed, "onnxruntime-fp32")

    assert list(tmp_path.iterdir()) == []
