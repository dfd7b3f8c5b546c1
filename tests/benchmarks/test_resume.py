"""Scores of an interrupted run are taken over by the next one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdino_deploy import Bundle
from segdino_deploy.errors import InputError
from tests.benchmarks.conftest import ENGINE, Quick, measure


def test_an_interrupted_run_takes_its_scores_over(
    bundle: Bundle, coloured_images: Path, quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segdino_deploy.benchmarks import scoring

    read: list[Path] = []
    read_rgb = scoring.read_rgb

    def read_until_the_third(path: Path) -> np.ndarray:
        read.append(path)
        if len(read) == 3:
            raise KeyboardInterrupt
        return read_rgb(path)

    monkeypatch.setattr(scoring, "read_rgb", read_until_the_third)
    with pytest.raises(KeyboardInterrupt):
        measure(bundle, coloured_images, quick, tmp_path)
    read[2:] = [Path("interrupted"), Path("no third any more")]

    result = measure(bundle, coloured_images, quick, tmp_path)

    assert [path.name for path in read[4:]] == [f"image_{index}.png" for index in (2, 3, 4, 5)]
    row = result.row(ENGINE)
    assert row.accuracy is not None
    assert None not in row.accuracy.per_image["agreement"]
    assert not list(bundle.path.parent.glob("*.jsonl"))


def test_a_repaired_image_costs_the_others_no_scores_and_another_runs_journal_stays(
    bundle: Bundle, coloured_images: Path, quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segdino_deploy.benchmarks import scoring

    images = tmp_path / "images"
    shutil.copytree(coloured_images, images)
    read: list[str] = []
    read_rgb = scoring.read_rgb

    def read_while_whole(path: Path) -> np.ndarray:
        if path.name == "image_4.png" and "repaired" not in read:
            raise InputError(f"{path}: is damaged")
        read.append(path.name)
        return read_rgb(path)

    monkeypatch.setattr(scoring, "read_rgb", read_while_whole)
    for data in (images, coloured_images):
        with pytest.raises(InputError, match="image_4"):
            measure(bundle, data, quick, tmp_path)
    assert len(list(bundle.path.parent.glob("*.bench-partial-*.jsonl"))) == 2
    Image.fromarray(read_rgb(images / "image_3.png")[::-1]).save(images / "image_4.png")
    read.append("repaired")

    result = measure(bundle, images, quick, tmp_path)

    assert read[read.index("repaired") + 1 :] == ["image_4.png", "image_5.png"]
    row = result.row(ENGINE)
    assert row.accuracy is not None
    assert None not in row.accuracy.per_image["agreement"]
    assert len(list(bundle.path.parent.glob("*.bench-partial-*.jsonl"))) == 1


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def interrupted(
    bundle: Bundle, coloured_images: Path, quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Bundle:
    """A bundle whose benchmark was interrupted when all images had their scores."""
    with monkeypatch.context() as patch:
        patch.setattr("segdino_deploy.benchmarks.bench.measure_process", interrupt)  # what comes last
        with pytest.raises(KeyboardInterrupt):
            measure(bundle, coloured_images, quick, tmp_path)
    return bundle


def test_scores_are_kept_until_everything_is_measured(
    interrupted: Bundle, coloured_images: Path, quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segdino_deploy.benchmarks.scoring.read_rgb", interrupt)  # no image is scored again

    result = measure(interrupted, coloured_images, quick, tmp_path)

    row = result.row(ENGINE)
    assert row.accuracy is not None and len(row.accuracy.per_image["agreement"]) == 6
    assert not list(interrupted.path.parent.glob("*.jsonl"))


def test_scores_of_another_library_are_not_taken_over(
    interrupted: Bundle, coloured_images: Path, quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segdino_deploy.benchmarks.measured.version_of", lambda _: "99.0")
    monkeypatch.setattr("segdino_deploy.benchmarks.scoring.read_rgb", interrupt)

    with pytest.raises(KeyboardInterrupt):
        measure(interrupted, coloured_images, quick, tmp_path)
