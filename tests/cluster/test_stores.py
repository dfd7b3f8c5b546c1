"""Places anywhere are what folders are: the same images, the same refusals, nothing lost without a word."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from segdino_deploy.cli.folder_options import print_summary_json
from segdino_deploy.cluster import predict as predict_module
from segdino_deploy.cluster.engine import choose_engine
from segdino_deploy.cluster.options import RayOptions
from segdino_deploy.cluster.plan import ClusterPlan
from segdino_deploy.cluster.predict import predict_on_ray
from segdino_deploy.cluster.stores import StoreFiles
from segdino_deploy.errors import InputError, SegdinoDeployError
from segdino_deploy.folders.jobs import Job, plan_jobs
from segdino_deploy.folders.options import FolderOptions
from segdino_deploy.folders.recording import Reports, Summary
from segdino_deploy.folders.records import HeadResult, ImageResult
from tests.cli.conftest import Cli
from tests.cluster.bundles import make_bundle

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def bucket() -> str:
    """A store in this process, as empty as a new bucket."""
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    return "memory://bucket"


def put(place: str, *names: str) -> str:
    system, root = fsspec.core.url_to_fs(place)
    for name in names:
        system.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
        system.pipe_file(f"{root}/{name}", b"x")
    return place


def names_of(inputs: list[str], output: str) -> list[str]:
    jobs = ClusterPlan(inputs, output, [""]).jobs
    return [jobs.name(index) for index in range(len(jobs))]


@pytest.fixture(params=["folder", "store", "store that is a folder", "store and folder"])
def places(request: pytest.FixtureRequest, bucket: str, tmp_path: Path) -> tuple[str, list[str]]:
    """Where images may be, and an input that is there besides."""
    if request.param == "store":
        return put(f"{bucket}/photos"), []
    other = put(f"{bucket}/other", "other.jpg")
    if request.param == "store and folder":
        return str(tmp_path / "photos"), [other]
    return (str(tmp_path / "photos"), []) if request.param == "folder" else (f"file://{tmp_path}/photos", [other])


def test_results_of_an_earlier_run_are_no_images(places: tuple[str, list[str]]) -> None:
    place, others = places
    put(place, "a.jpg", "b/c.png", "masks/a.png", "masks/b/c.png", "masks.d/e.png")

    found = names_of([place, *others], f"{place}/masks")

    assert sorted(set(found) - {"other.jpg"}) == ["a.jpg", "b/c.png", "masks.d/e.png"]


def test_folders_of_masks_are_refused(places: tuple[str, list[str]]) -> None:
    place, others = places
    put(place, "a.jpg", "labels/a.png")

    with pytest.raises(InputError, match="photos: holds masks in labels: name the folder of the images alone"):
        names_of([place, *others], f"{place}-out")


@pytest.mark.parametrize("below", ["", "/b"])
def test_results_among_the_images_are_refused(places: tuple[str, list[str]], below: str) -> None:
    place, others = places
    put(place, "a.jpg", "b/c.jpg")

    with pytest.raises(InputError, match=f"photos{below}: its results would lie among its images; choose another -o"):
        names_of([f"{place}{below}", *others], f"{place}/")


def test_nothing_but_other_files_is_told(bucket: str) -> None:
    with pytest.raises(InputError, match=r"memory://bucket/photos: holds no images \(\.bmp, "):
        names_of([put(f"{bucket}/photos", "notes.txt")], f"{bucket}/out")


def test_json_names_the_places_of_images_and_masks(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    plan = ClusterPlan([put(f"{bucket}/photos", "a.png", "b.png")], f"{bucket}/out", [""])
    head = HeadResult(head="", mask="a.png", mask_sha256="0", mask_bytes=1, pixels={0: 1})
    results = [
        ImageResult(image="a.png", status="ok", heads=[head]),
        ImageResult(image="b.png", status="failed", error="why"),
    ]

    print_summary_json(Summary(2, done=1, failed=1, listed=results), "x", [], plan.source, plan.result)

    document = json.loads(capsys.readouterr().out)
    assert document["images"][0]["image"] == "memory://bucket/photos/a.png"
    assert document["images"][0]["mask"] == "memory://bucket/out/a.png"
    assert document["failures"] == [{"image": "memory://bucket/photos/b.png", "error": "why"}]


def test_a_table_in_a_store_has_nothing_to_do_with_files_here(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "areas.csv").mkdir()
    monkeypatch.chdir(tmp_path)
    bundle = make_bundle(tmp_path / "colours.segdino")
    plan = ClusterPlan([put(f"{bucket}/photos", "a.png")], f"{bucket}/out", [""])

    class Started(Exception):
        pass

    def start(*_: object) -> None:
        raise Started

    monkeypatch.setattr(predict_module, "ray_session", start)

    def run(table: str) -> None:
        predict_on_ray(choose_engine(bundle, None, None), plan, FolderOptions(), RayOptions(), table=table)

    with pytest.raises(Started):
        run(f"{bucket}/areas.csv")
    with pytest.raises(InputError, match=r"--table: memory://bucket/areas\.xlsx is neither \.csv nor \.parquet"):
        run(f"{bucket}/areas.xlsx")
    assert (tmp_path / "areas.csv").is_dir()


@pytest.mark.parametrize("error", [InputError("no such engine"), KeyboardInterrupt()])
@pytest.mark.parametrize("is_local", [True, False])
def test_whatever_ends_a_run_temporary_files_of_its_workers_go(
    is_local: bool, error: BaseException, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(tmp_path) if is_local else bucket
    put(f"{place}/photos", "a/1.jpg")
    put(f"{place}/out", "a/.1.png.77.tmp", "a/.1.overlay.png.78.tmp", "a/.notes.77.tmp")
    bundle = make_bundle(tmp_path / "colours.segdino")
    plan = ClusterPlan([f"{place}/photos"], f"{place}/out", [""])

    def start(*_: object) -> None:
        raise error

    monkeypatch.setattr(predict_module, "ray_session", start)

    with pytest.raises(type(error)):
        predict_on_ray(choose_engine(bundle, None, None), plan, FolderOptions(), RayOptions())

    system, root = fsspec.core.url_to_fs(f"{place}/out")
    assert [name.removeprefix(f"{root}/") for name in system.find(f"{root}/a")] == ["a/.notes.77.tmp"]


def test_leftovers_that_cannot_be_removed_are_told_and_change_no_error(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle(tmp_path / "colours.segdino")
    plan = ClusterPlan([put(f"{bucket}/photos", "1.jpg")], put(f"{bucket}/out", ".1.png.77.tmp"), [""])
    notes: list[str] = []

    def start(*_: object) -> None:
        raise RuntimeError("the first")

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr(predict_module, "ray_session", start)
    monkeypatch.setattr(type(fsspec.filesystem("memory")), "rm_file", refuse)

    with pytest.raises(RuntimeError, match="the first"):
        chosen = choose_engine(bundle, None, None)
        predict_on_ray(chosen, plan, FolderOptions(), RayOptions(), reports=Reports(on_note=notes.append))

    told = "temporary files of workers that died may be left ([Errno 13] denied)"
    assert notes == [f"memory://bucket/out: {told}"]


def test_a_folder_of_a_store_that_may_not_be_listed_is_not_passed_over(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(f"{bucket}/photos", "a/1.jpg", "b/2.jpg")
    memory = type(fsspec.filesystem("memory"))
    ls = memory.ls

    def refuse(self: object, path: str, *rest: object, **options: object) -> object:
        if path.endswith("/b"):
            raise PermissionError(errno.EACCES, "denied")
        return ls(self, path, *rest, **options)

    monkeypatch.setattr(memory, "ls", refuse)

    with pytest.raises(InputError, match=r"memory://bucket/photos: cannot be listed \(.*denied"):
        names_of([f"{bucket}/photos"], f"{bucket}/out")


def test_no_space_for_the_copy_of_an_image_ends_the_run(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = StoreFiles({"a.png": put(f"{bucket}/photos", "a.png") + "/a.png"}, str(tmp_path))

    def full(path: Path, _: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)

    with pytest.raises(SegdinoDeployError, match="no space left to write"), files.local_copy(Job(Path(), (), "a.png")):
        pytest.fail("there is no copy")


def test_the_same_names_are_planned_as_of_a_folder(bucket: str, tmp_path: Path) -> None:
    names = ["b/2.jpg", "b/1.PNG", "a.tif", "notes.txt", "b/.hidden.png", "c/d/e.webp"]
    put(f"{bucket}/photos", *names)
    put(str(tmp_path / "photos"), *names)

    planned = plan_jobs([tmp_path / "photos"], tmp_path / "out")

    assert names_of([f"{bucket}/photos"], f"{bucket}/out") == [job.name for job in planned]


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("memory://bucket/out", "what is done stays; the same line begins anew, for --resume needs folders"),
        ("{folder}/out", "what is done stays; the same line with --resume goes on"),
        ("file://{folder}/out", "what is done stays; the same line with --resume goes on"),
    ],
)
def test_ctrl_c_promises_only_what_the_next_run_can_do(
    output: str, told: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("segdino_deploy.cli.predict.run_on_ray", interrupt)

    place = output.format(folder=tmp_path)
    result = cli("predict", tmp_path / "colours.segdino", put(str(tmp_path), "a.png"), "-o", place, "--ray", "local")

    assert result.code == 130
    assert told in result.stderr.splitlines()
