"""What is planned: which images, where their results go, and in how much memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from PIL import Image

from segdino_deploy.errors import InputError
from segdino_deploy.folders.jobs import Jobs, plan_jobs


def make_files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2)).save(folder / name)
    return folder


def test_results_of_an_earlier_run_are_no_images_even_in_a_folder_named_masks(tmp_path: Path) -> None:
    images = make_files(tmp_path / "photos", "a.jpg", "b/c.png", "masks/a.png", "masks/b/c.png", "masks.d/e.png")

    jobs = plan_jobs([images], images / "masks")

    assert [job.name for job in jobs] == ["a.jpg", "b/c.png", "masks.d/e.png"]


@pytest.mark.parametrize("link", [False, True])
def test_results_of_an_earlier_run_are_known_behind_links(tmp_path: Path, link: bool) -> None:
    images = make_files(tmp_path / "photos", "a.jpg", "out/a.png")
    (tmp_path / "other").symlink_to(images, target_is_directory=True)
    given, output = (tmp_path / "other", images / "out") if link else (images, tmp_path / "other" / "out")

    assert [job.name for job in plan_jobs([given], output)] == ["a.jpg"]


def test_two_images_with_one_result_are_named(tmp_path: Path) -> None:
    images = make_files(tmp_path / "in", "a.jpg", "b.jpg", "b.png", "c.png")

    with pytest.raises(InputError, match=r"b\.png and .*b\.jpg would both be written to .*out.b\.png; run them apart"):
        plan_jobs([images], tmp_path / "out")


def test_a_result_that_is_an_input_is_named_also_behind_a_link(tmp_path: Path) -> None:
    images = make_files(tmp_path / "in", "a.jpg", "b.jpg")
    make_files(tmp_path / "out", "b.png")
    (images / "link.png").symlink_to(tmp_path / "out" / "b.png")

    with pytest.raises(InputError, match=r"b\.jpg: its result .*out.b\.png would overwrite an input; choose another"):
        plan_jobs([images], tmp_path / "out")


def test_overlays_and_masks_of_heads_that_meet_are_named(tmp_path: Path) -> None:
    images = make_files(tmp_path / "in", "a.jpg", "a.polyp.jpg")

    with pytest.raises(InputError, match="would both be written to"):
        plan_jobs([images], tmp_path / "out", ["polyp", "polyp.polyp"])


def test_a_plan_takes_about_a_hundred_bytes_for_each_image_also_while_it_is_made(tmp_path: Path) -> None:
    count = 4000
    for index in range(count):
        path = tmp_path / "in" / f"case{index % 8}" / f"image_{index:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    plan_jobs([tmp_path / "in"], tmp_path / "out")  # what is imported and cached at the first time

    tracemalloc.start()
    try:
        jobs = plan_jobs([tmp_path / "in"], tmp_path / "out")
        kept_bytes, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(jobs) == count
    assert kept_bytes / count < 120  # a name of 22 letters, and where it is
    assert peak_bytes / count < 200


@pytest.mark.parametrize("folder", [".", "in", "/", "../in", "/tmp/in"])
def test_places_are_written_as_paths_are(folder: str) -> None:
    jobs = Jobs(Path(folder), ["polyp"], [(Path(folder), ["a/b.jpg"])])

    assert jobs.source(0) == str(jobs[0].image)
    assert jobs.result("a/b.polyp.png") == str(jobs[0].targets[0].mask)


def test_an_image_that_is_named_twice_is_no_collision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = make_files(tmp_path / "in", "a.jpg", "b.jpg")
    monkeypatch.chdir(images)

    for twice in (images / "b.jpg", Path("b.jpg")):
        with pytest.raises(InputError, match=r"b\.jpg: named twice, or by its folder, too; name it once$"):
            plan_jobs([images, twice], tmp_path / "out")
