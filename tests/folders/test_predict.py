"""A folder's run: its files, its order, and what happens to images that fail."""

from __future__ import annotations

import errno
import os
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdino_deploy.errors import InputError, SegdinoDeployError
from segdino_deploy.folders import pipeline
from segdino_deploy.folders.jobs import plan_jobs
from segdino_deploy.folders.options import FolderOptions
from segdino_deploy.folders.predict import predict_folder
from segdino_deploy.folders.recording import Reports
from segdino_deploy.images import overlay, read_rgb, resize_mask, resize_rgb
from tests.folders.toy import BATCH, IDENTITY, Colours, contents, make_folder, predict


def test_every_image_gets_the_mask_and_overlay_of_its_own_pixels(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 9)
    runner = Colours()

    summary = predict(images, tmp_path / "out", runner)

    assert (summary.images, summary.done, summary.failed) == (9, 9, 0)
    assert runner.batches == [4, 4, 1]
    names = [f"part{number % 2}/{number:05d}" for number in range(9)]
    assert sorted(contents(tmp_path / "out")) == sorted(n + end for n in names for end in (".png", ".overlay.png"))
    for name in names:
        image = read_rgb(images / f"{name}.png")
        mask = resize_mask(resize_rgb(image, (16, 32), "bilinear").argmax(axis=-1).astype(np.uint8), (24, 40))
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / f"{name}.png")), mask)
        painted = np.asarray(Image.open(tmp_path / "out" / f"{name}.overlay.png"))
        np.testing.assert_array_equal(painted, overlay(image, mask))
    assert [result.image for result in summary.listed] == [str(job.name) for job in plan_jobs([images], Path("x"))]


def test_batches_and_workers_change_no_result(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 7)
    predict(images, tmp_path / "a", options=FolderOptions(workers=1, batch_size=1))
    predict(images, tmp_path / "b", options=FolderOptions(workers=3, batch_size=BATCH))

    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_overlays_are_made_too_where_too_many_images_are_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = make_folder(tmp_path / "in", 7)
    predict(images, tmp_path / "kept")
    monkeypatch.setattr(pipeline, "MAX_HELD_BYTES", 2 * 40 * 24 * 3)
    predict(images, tmp_path / "again")

    assert contents(tmp_path / "kept") == contents(tmp_path / "again")


def test_masks_alone(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 3)
    predict(images, tmp_path / "both")
    predict(images, tmp_path / "masks", options=FolderOptions(overlay=False))

    both = contents(tmp_path / "both")
    assert contents(tmp_path / "masks") == {name: both[name] for name in both if "overlay" not in name}


def test_images_that_fail_are_counted_and_the_others_written(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 9)
    (images / "part0" / "00002.png").write_bytes(b"no picture")
    (images / "part1" / "00005.png").write_bytes((images / "part1" / "00003.png").read_bytes()[:100])
    long = images / f"{'x' * 240}.png"  # may be read, but the name of its overlay is too long
    Image.new("RGB", (8, 8)).save(long)

    summary = predict(images, tmp_path / "out")

    assert (summary.images, summary.done, summary.failed) == (10, 7, 3)
    assert len(contents(tmp_path / "out")) == 14
    reasons = {Path(result.image).name: result.error for result in summary.listed if result.status == "failed"}
    assert "not an image that can be read" in reasons["00002.png"]
    assert "damaged image" in reasons["00005.png"]
    assert os.strerror(errno.ENAMETOOLONG) in reasons[long.name]


def test_an_engine_that_fails_ends_the_run_and_keeps_what_is_done(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 40)

    class Breaking(Colours):
        def _run(self, image_nhwc: np.ndarray) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
            if len(self.batches) == 6:
                raise RuntimeError("device lost")
            return super()._run(image_nhwc)

    with pytest.raises(SegdinoDeployError, match="test fp32 engine failed: device lost"):
        predict(images, tmp_path / "out", Breaking())

    runner = Colours()
    summary = predict(images, tmp_path / "out", runner, resume=True)
    assert 0 < summary.resumed <= 24
    assert sum(runner.batches) == 40 - summary.resumed // BATCH * BATCH
    predict(images, tmp_path / "undisturbed")
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")


def test_a_full_disk_stops_at_once_and_what_is_done_stays(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    images = make_folder(tmp_path / "in", 120)
    try:
        runner = Colours()
        with pytest.raises(SegdinoDeployError, match=r"no space left to write .*: free some and run again"):
            predict(images, disk / "out", runner)
        assert sum(runner.batches) < 120
        for name, content in contents(disk / "out").items():
            Image.open(disk / "out" / name).load()
            assert content
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        summary = predict(images, disk / "out", resume=True)
        assert (summary.done, summary.resumed > 0) == (120, True)
        predict(images, tmp_path / "undisturbed")
        assert contents(disk / "out") == contents(tmp_path / "undisturbed")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 3)
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    if os.access(locked, os.W_OK):  # root may write everywhere but where the file system itself is read-only
        mount = ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", str(locked)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("this user may write everywhere, and mount nothing")
    try:
        with pytest.raises(InputError, match=r"no permission to write .*locked.*choose another place"):
            predict(images, locked / "out")
    finally:
        subprocess.run(["umount", str(locked)], capture_output=True, check=False)


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 700, size_wh=(24, 16))
    jobs = plan_jobs([images], tmp_path / "out")
    held_bytes: list[int] = []

    tracemalloc.start()
    try:
        reports = Reports(lambda *_: held_bytes.append(tracemalloc.get_traced_memory()[0]))
        predict_folder(Colours(), jobs, FolderOptions(workers=2), IDENTITY, reports=reports)
    finally:
        tracemalloc.stop()

    # Of one image the result takes 3500 bytes, its pixels 2700, its files 1600; what is under way differs by a few.
    grown_bytes = min(held_bytes[-50:]) - min(held_bytes[50:100])
    assert grown_bytes / 600 < 400


def test_results_among_the_images_are_refused(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 2)

    with pytest.raises(InputError, match="its results would lie among its images; choose another -o"):
        predict(images, images)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"workers": 0}, "--workers: 0; at least 1"), ({"batch_size": 9}, "--batch-size: 9; this model takes 1 to 4")],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, int], said: str, tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 1)

    with pytest.raises(InputError, match=said):
        predict(images, tmp_path / "out", options=FolderOptions(**options))  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
