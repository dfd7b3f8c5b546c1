"""What a cluster's run is refused for before Ray starts, and how its images become tasks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from segdino_deploy.cluster.engine import choose_engine
from segdino_deploy.cluster.options import RayOptions
from segdino_deploy.cluster.plan import ClusterPlan, Task
from segdino_deploy.cluster.predict import predict_on_ray
from segdino_deploy.cluster.stores import Store
from segdino_deploy.errors import InputError, MissingComponent
from segdino_deploy.folders.options import FolderOptions
from tests.cli.conftest import Cli
from tests.cluster.bundles import make_bundle
from tests.folders.toy import make_folder

fsspec = pytest.importorskip("fsspec")


def put(place: str, content: bytes = b"x") -> None:
    system, path = fsspec.core.url_to_fs(place)
    system.pipe_file(path, content)


@pytest.fixture
def memory() -> str:
    """A store in this process, as empty as a new bucket."""
    fsspec.filesystem("memory").rm("/", recursive=True) if fsspec.filesystem("memory").exists("/") else None
    return "memory://bucket"


def test_tasks_are_whole_batches_and_hold_every_image_once(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 53)
    plan = ClusterPlan([str(images)], str(tmp_path / "out"), [""])

    tasks = [Task.from_json(task.to_json()) for task in plan.tasks(4, actors=3, is_done=lambda _: False)]

    assert [name for task in tasks for name in task.names] == [plan.jobs.name(index) for index in range(53)]
    assert [source for task in tasks for source in task.sources] == [str(job.image) for job in plan.jobs]
    assert [task.first % 4 for task in tasks] == [0] * len(tasks)
    assert len(tasks) >= 2 * 3
    rest = list(plan.tasks(4, actors=3, is_done=lambda index: index != 50))
    assert [task.first <= 50 < task.first + len(task.names) for task in rest] == [True]


def test_images_of_a_store_keep_their_folders(memory: str) -> None:
    for name in ("b/2.jpg", "b/1.PNG", "a.tif", "notes.txt", "b/.hidden.png"):
        put(f"{memory}/in/{name}")

    plan = ClusterPlan([f"{memory}/in"], f"{memory}/out/", [""])

    [task] = plan.tasks(8, actors=1, is_done=lambda _: False)
    assert task.names == ["a.tif", "b/1.PNG", "b/2.jpg"]
    for source in task.sources:
        system, path = fsspec.core.url_to_fs(source)
        assert system.cat_file(path) == b"x"
    assert plan.output == f"{memory}/out"
    ends = (".png", ".overlay.png")
    assert set(plan.result_names()) == {f"{stem}{end}" for stem in ("a", "b/1", "b/2") for end in ends}


def test_results_that_would_meet_are_refused(memory: str) -> None:
    for name in ("in/a.png", "in/a.jpg", "other/a.bmp"):
        put(f"{memory}/{name}")

    with pytest.raises(InputError, match=r"would both be written to memory://bucket/out/a\.png; run them apart"):
        ClusterPlan([f"{memory}/in"], f"{memory}/out", [""])
    with pytest.raises(InputError, match="would overwrite an input; choose another -o"):
        ClusterPlan([f"{memory}/in/a.png"], f"{memory}/in", [""])
    with pytest.raises(InputError, match="would both be written to"):
        ClusterPlan([f"{memory}/in/a.jpg", f"{memory}/other"], f"{memory}/out", [""])


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("memory://bucket/none", "no such file or folder, or one that holds no images"),
        ("nonsense://bucket/in", "cannot be opened"),
        ("sftp://user:secret@host/in", r"sftp://\.\.\.: holds a password"),
    ],
)
def test_places_that_cannot_be_read_are_named(place: str, said: str, memory: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        ClusterPlan([place], f"{memory}/out", [""])
    assert "secret" not in str(caught.value)


def test_a_store_without_its_library_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)

    with pytest.raises(MissingComponent, match="s3fs"):
        Store("s3://bucket/in")


def test_a_store_gets_whole_files_and_loses_what_workers_left(memory: str) -> None:
    store = Store(memory)
    put(f"{memory}/a/.1.png.77.tmp")
    put(f"{memory}/a/.notes.77.tmp")
    store.write("a/1.png", b"whole")

    store.remove_leftovers({"a/1.png"})

    assert sorted(fsspec.filesystem("memory").find("/bucket")) == ["/bucket/a/.notes.77.tmp", "/bucket/a/1.png"]
    assert store.read("a/1.png") == b"whole"


@pytest.mark.parametrize(
    ("options", "cpus", "gpus", "actors"),
    [
        (RayOptions(), 8, 0, 8),
        (RayOptions(cpus_per_actor=3), 8, 0, 2),
        (RayOptions(actors=2, cpus_per_actor=3), 8, 0, 2),
        (RayOptions(gpus_per_actor=0.5), 8, 2, 4),
    ],
)
def test_as_many_actors_as_there_is_room_for(options: RayOptions, cpus: float, gpus: float, actors: int) -> None:
    assert options.actors_in(cpus, gpus) == actors


def test_actors_that_never_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"--ray-actors: 5 of 2 CPU\(s\) .* do not fit .* at most 4 do"):
        RayOptions(actors=5, cpus_per_actor=2).actors_in(8, 0)
    with pytest.raises(InputError, match="do not fit a cluster of"):
        RayOptions(gpus_per_actor=1).actors_in(8, 0)


def test_going_on_needs_folders(memory: str, tmp_path: Path) -> None:
    put(f"{memory}/in/a.png")
    bundle = make_bundle(tmp_path / "colours.segdino")
    plan = ClusterPlan([f"{memory}/in"], f"{memory}/out", [""])

    with pytest.raises(InputError, match="--resume: needs inputs and results in folders"):
        predict_on_ray(choose_engine(bundle, None, None), plan, FolderOptions(), RayOptions(), resume=True)


def test_the_command_line_says_what_is_missing(cli: Cli, tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in", 1)
    bundle = make_bundle(tmp_path / "colours.segdino")

    alone = cli("predict", bundle, images, "-o", tmp_path / "out", "--ray-actors", "2")
    store = cli("predict", bundle, "s3://bucket/in", "-o", tmp_path / "out")

    assert (alone.code, alone.error) == (
        2,
        "error: --ray-actors: of a cluster's actors; add --ray local or --ray ADDRESS",
    )
    assert (store.code, "is not on this machine; add --ray local" in store.error) == (2, True)


def test_without_ray_the_extra_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['ray'] = None; import segdino_deploy.requirements as r; known = r.has_module; "
        "r.has_module = lambda name: not name.startswith('ray') and known(name); "
        "from segdino_deploy.cli.app import run; sys.exit(run(sys.argv[1:]))"
    )
    bundle = make_bundle(tmp_path / "colours.segdino")
    line = ["predict", str(bundle), str(make_folder(tmp_path / "in", 1)), "-o", str(tmp_path / "out"), "--ray", "local"]

    done = subprocess.run([sys.executable, "-c", code, *line], capture_output=True, text=True, check=False)

    assert done.returncode == 3
    assert "pip install 'segdino-deploy[ray]'" in done.stderr.splitlines()[-1]
