"""A local Ray of two workers: the same files as of one process, also where workers are killed."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path

import pytest

pytest.importorskip("ray.data", reason="ray[data] is not installed")

from segdino_deploy.cluster.engine import choose_engine
from segdino_deploy.cluster.options import RayOptions
from segdino_deploy.cluster.plan import ClusterPlan
from segdino_deploy.cluster.predict import predict_on_ray
from segdino_deploy.engines.run import open_engine
from segdino_deploy.errors import InputError
from segdino_deploy.folders.jobs import plan_jobs
from segdino_deploy.folders.options import FolderOptions
from segdino_deploy.folders.predict import engine_identity, predict_folder
from segdino_deploy.folders.recording import Reports, Summary
from tests.cli.conftest import Cli
from tests.cluster.bundles import make_bundle
from tests.cluster.conftest import Places
from tests.folders.toy import contents, make_folder

pytestmark = pytest.mark.slow
TWO = RayOptions("local", actors=2)


def on_one_machine(bundle: Path, images: Path, output: Path) -> dict[str, bytes]:
    with open_engine(bundle) as runner:
        predict_folder(
            runner, plan_jobs([images], output), FolderOptions(), engine_identity(bundle, "onnxruntime", "fp32")
        )
    return contents(output)


def on_ray(bundle: Path, inputs: list[str], output: str, reports: Reports = Reports(), **options: object) -> Summary:
    plan = ClusterPlan(inputs, output, [""])
    return predict_on_ray(
        choose_engine(bundle, None, None),
        plan,
        FolderOptions(),
        TWO,
        reports=reports,
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.usefixtures("places")
def test_the_command_line_starts_a_ray_and_ends_it(cli: Cli, tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 6)
    bundle = make_bundle(tmp_path / "colours.segdino")
    expected = on_one_machine(bundle, images, tmp_path / "single")

    result = cli("predict", bundle, images, "-o", tmp_path / "out", "--ray", "local", "--ray-actors", "2", "--json")

    assert result.code == 0
    document = json.loads(result.stdout)  # Ray itself prints nothing there
    assert [line for line in result.stderr.splitlines() if not line.startswith(("Ray at local: ", "images: "))] == []
    assert document["engine"] == "onnxruntime fp32 on Ray"
    assert document["counts"] == {"images": 6, "done": 6, "failed": 0, "resumed": 0}
    assert contents(tmp_path / "out") == expected
    import ray

    assert not ray.is_initialized()
    (tmp_path / "blocked").write_text("")
    blocked = cli("predict", bundle, images, "-o", tmp_path / "blocked" / "out", "--ray", "local")
    assert (blocked.code, "a file stands where a folder is needed" in blocked.error) == (2, True)


@pytest.mark.usefixtures("two_workers")
def test_masks_are_those_of_one_process_also_where_a_worker_is_killed(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 150)
    (images / "part1" / "00007.png").write_bytes(b"no picture")
    bundle = make_bundle(tmp_path / "colours.segdino")
    expected = on_one_machine(bundle, images, tmp_path / "single")
    killed: list[int] = []

    def kill_workers(done: int, total: int) -> None:
        if not killed and 10 < done < total:
            killed.extend([_pids_of("MapWorker")[0], *_pids_of("Attempts")])
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    table = tmp_path / "a.csv"
    summary = on_ray(bundle, [str(images)], str(tmp_path / "out"), Reports(kill_workers), table=str(table))

    assert len(killed) == 2
    assert (summary.images, summary.done, summary.failed) == (150, 149, 1)
    assert "00007.png: not an image that can be read" in summary.first_failure
    assert contents(tmp_path / "out") == expected
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [job.name for job in plan_jobs([images], Path("x"))]
    assert [row["path"] for row in rows if row["status"] == "failed"] == ["part1/00007.png"]

    again = on_ray(bundle, [str(images)], str(tmp_path / "out"), resume=True)
    assert (again.resumed, again.done, again.failed) == (149, 149, 1)


def _pids_of(name: str) -> list[int]:
    """Processes of actors, of the cluster that this process has started."""
    import ray._private.state

    actors = ray._private.state.actors().values()
    return [actor["Pid"] for actor in actors if actor["State"] == "ALIVE" and name in actor["ActorClassName"]]


def test_a_worker_that_dies_while_it_writes_to_a_store_leaves_no_part_of_a_file(
    two_workers: Places, tmp_path: Path
) -> None:
    images = make_folder(tmp_path / "in", 40)
    bundle = make_bundle(tmp_path / "colours.segdino")
    expected = on_one_machine(bundle, images, tmp_path / "single")

    summary = on_ray(bundle, [f"brittle://{images}"], f"brittle://{tmp_path}/out", table=f"brittle://{tmp_path}/a.csv")

    assert two_workers.killed.is_file()
    assert (summary.done, summary.failed) == (40, 0)
    assert contents(tmp_path / "out") == expected
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 41


def test_an_image_that_kills_every_worker_costs_its_own_task(
    two_workers: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_workers.killed.touch()  # no other image does
    monkeypatch.setattr("segdino_deploy.cluster.predict.MAX_ATTEMPTS", 1)
    images = make_folder(tmp_path / "in", 40)
    (images / "part0" / "00020.png").rename(images / "part0" / "deadly.png")
    bundle = make_bundle(tmp_path / "colours.segdino")
    expected = on_one_machine(bundle, images, tmp_path / "single")

    summary = on_ray(bundle, [f"brittle://{images}"], f"brittle://{tmp_path}/out")

    failed = {result.image for result in summary.listed if result.status == "failed"}
    assert "part0/deadly.png" in failed
    assert len(failed) == summary.failed <= 6  # one of 2 x 4 tasks
    assert "every worker died that had this image or one of its neighbours" in summary.first_failure
    written = contents(tmp_path / "out")
    done = {result.image for result in summary.listed if result.status == "ok"}
    assert len(done) + len(failed) == 40
    assert all(written[name] == expected[name] for name in done)
    assert written.items() <= expected.items()


@pytest.mark.usefixtures("two_workers")
def test_an_error_in_a_worker_is_one_line(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 6)
    bundle = make_bundle(tmp_path / "colours.segdino")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "part1").write_text("")  # a file where results need a folder

    with pytest.raises(InputError, match=r"cannot write .*part1.*: a file stands where a folder is needed"):
        on_ray(bundle, [str(images)], str(tmp_path / "out"))


@pytest.mark.usefixtures("two_workers")
def test_ctrl_c_leaves_whole_files_alone_and_the_run_can_go_on(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 60, size_wh=(320, 240))
    bundle = make_bundle(tmp_path / "colours.segdino")
    expected = on_one_machine(bundle, images, tmp_path / "single")
    (tmp_path / "out" / "part0").mkdir(parents=True)
    (tmp_path / "out" / "part0" / ".00000.png.77.tmp").write_bytes(b"of a worker that was killed")

    def interrupt(done: int, _: int) -> None:
        if done > 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on_ray(bundle, [str(images)], str(tmp_path / "out"), Reports(interrupt))

    written = contents(tmp_path / "out")
    assert written.items() <= expected.items()
    assert len(written) > 10
    summary = on_ray(bundle, [str(images)], str(tmp_path / "out"), resume=True)
    assert (summary.done, summary.resumed > 10) == (60, True)
    assert contents(tmp_path / "out") == expected
