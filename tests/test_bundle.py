"""The bundle stays valid whatever happens to the process, the disk or the files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from segdino_deploy import Bundle
from segdino_deploy.bundle import check_target, find_bundle
from segdino_deploy.errors import InputError

Copy = Callable[..., Bundle]

# Replaces canary.npz and adds a file, dying (SIGKILL, no clean-up) at the n-th file system step of the transaction.
KILLED_UPDATE = """
import os, signal, sys
from pathlib import Path
from segdino_deploy import Bundle

steps = int(sys.argv[2])

def counting(original):
    def call(*arguments, **options):
        global steps
        steps -= 1
        if steps < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)
    return call

bundle = Bundle.open(sys.argv[1])
Path.rename, Path.replace = counting(Path.rename), counting(Path.replace)
os.fsync, os.open = counting(os.fsync), counting(os.open)
bundle.update({"canary.npz": b"new canary", "engines/new.plan": b"engine"}, lambda manifest: manifest)
print("finished")
"""

LIMITED = """
import resource, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # writing past this fails, as on a full disk
sys.argv = ["segdino-deploy", *sys.argv[2:]]
from segdino_deploy.cli.app import main
main()
"""


def test_a_kill_at_any_step_leaves_the_old_bundle_or_the_new_one(bundle_copy: Copy) -> None:
    path = bundle_copy().path
    old = (path / "canary.npz").read_bytes()
    outcomes = []
    for step in range(40):
        done = subprocess.run([sys.executable, "-c", KILLED_UPDATE, path, str(step)], capture_output=True, text=True)
        content = (Bundle.open(path).path / "canary.npz").read_bytes()  # opening compares every hash
        assert content in (old, b"new canary")
        has_engine = "engines/new.plan" in Bundle.open(path).manifest.files
        assert has_engine == (content == b"new canary")
        outcomes.append(has_engine)
        if "finished" in done.stdout:
            break
        assert done.returncode == -9
        if has_engine:  # start the next step from the old state again
            Bundle.open(path).update(
                {"canary.npz": old},
                lambda m: m.model_copy(update={"files": {k: v for k, v in m.files.items() if "new" not in k}}),
            )

    assert "finished" in done.stdout
    assert outcomes[0] is False
    assert outcomes.count(False) > 3  # killed before the commit
    assert outcomes.count(True) > 3  # killed after it


@pytest.mark.parametrize("name", ["model.onnx", "canary.npz"])
def test_a_changed_byte_is_refused_by_name(name: str, bundle_copy: Copy) -> None:
    path = bundle_copy().path
    content = bytearray((path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (path / name).write_bytes(content)

    with pytest.raises(InputError, match=f"{name} was changed since it was written"):
        Bundle.open(path)


def test_a_missing_file_is_refused_by_name(bundle_copy: Copy) -> None:
    path = bundle_copy().path
    (path / "canary.npz").unlink()

    with pytest.raises(InputError, match=r"canary\.npz is missing"):
        Bundle.open(path)


def test_a_newer_schema_asks_for_an_update(bundle_copy: Copy) -> None:
    path = bundle_copy().path
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 99}))

    with pytest.raises(InputError, match="newer segdino-deploy"):
        Bundle.open(path)


def test_an_older_schema_asks_for_another_export(bundle_copy: Copy) -> None:
    path = bundle_copy().path
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 1}))

    with pytest.raises(InputError, match=r"an older segdino-deploy \(schema 1\): remove it and export again"):
        Bundle.open(path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema_version": 1}'])
def test_a_damaged_manifest_is_one_error(content: str, bundle_copy: Copy) -> None:
    path = bundle_copy().path
    (path / "manifest.json").write_text(content)

    with pytest.raises(InputError, match="damaged, not a manifest of this version"):
        Bundle.open(path)


def test_a_full_disk_leaves_the_bundle_as_it_was(bundle_copy: Copy) -> None:
    path = bundle_copy().path
    before = {file: file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}
    limit = str(300_000)  # smaller than the engine, larger than the manifest

    command = [sys.executable, "-c", LIMITED, limit, "build-engine", str(path), "--fp32", "--backend", "onnxruntime"]
    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
    assert {file: file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()} == before
    Bundle.open(path)


def test_a_first_export_on_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    checkpoint = Path(__file__).parent / "golden" / "v1_convt.pth"
    command = [sys.executable, "-c", LIMITED, "300000", "export", str(checkpoint), "-o", str(tmp_path / "new.segdino")]

    done = subprocess.run([*command, "--size", "32"], capture_output=True, text=True)

    assert done.returncode == 2
    assert "no space left" in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_updating_drops_files_the_manifest_no_longer_lists(bundle_copy: Copy) -> None:
    bundle = bundle_copy()
    bundle.update({"engines/a.plan": b"a"}, lambda manifest: manifest)

    def forget(manifest):  # type: ignore[no-untyped-def]
        return manifest.model_copy(update={"files": {k: v for k, v in manifest.files.items() if k != "engines/a.plan"}})

    bundle.update({}, forget)

    assert not bundle.file("engines/a.plan").exists()


def test_another_folder_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")

    with pytest.raises(InputError, match="not a bundle"):
        check_target(tmp_path / "thesis")


@pytest.mark.parametrize("content", ['{"name": "web app"}', '{"schema_version": 99}', "half a manif"])
def test_a_manifest_that_is_not_ours_is_not_overwritten_either(content: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(content)

    with pytest.raises(InputError):
        check_target(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["manifest.json"]


def test_a_bundle_cannot_reach_outside_its_folder(bundle_copy: Copy) -> None:
    path = bundle_copy().path
    (path.parent / "victim").write_text("precious")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"]["../victim"] = manifest["files"]["canary.npz"]
    (path / "manifest.json").write_text(json.dumps(manifest))

    with pytest.raises(InputError, match="damaged, not a manifest of this version"):
        Bundle.open(path)


def test_a_canary_outside_the_folder_is_not_read(bundle_copy: Copy) -> None:
    path = bundle_copy().path
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["onnx"]["fp32"]["canary"] = "../victim.npz"
    (path / "manifest.json").write_text(json.dumps(manifest))

    with pytest.raises(InputError, match="damaged, not a manifest of this version"):
        Bundle.open(path)


def test_an_engine_without_a_hash_is_not_opened(bundle_copy: Copy) -> None:
    path = bundle_copy().path
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["engines"]["planted"] = {
        "file": "planted.onnx",
        "backend": "onnxruntime",
        "precision": "fp32",
        "source": "model.onnx",
        "built_with": {},
    }
    (path / "planted.onnx").write_bytes((path / "model.onnx").read_bytes())
    (path / "manifest.json").write_text(json.dumps(manifest))

    with pytest.raises(InputError, match=r"planted\.onnx has no sha256 in the manifest"):
        Bundle.open(path)


def test_opening_while_somebody_writes_is_no_damage(bundle_copy: Copy) -> None:
    path = bundle_copy().path
    code = """
import sys
from segdino_deploy import Bundle
bundle = Bundle.open(sys.argv[1])
for index in range(60):
    bundle.update({"report/x.txt": str(index).encode() * 1000}, lambda manifest: manifest)
"""
    writer = subprocess.Popen([sys.executable, "-c", code, str(path)])
    opened = 0
    while writer.poll() is None:
        Bundle.open(path)
        opened += 1

    assert writer.returncode == 0
    assert opened > 10


def test_the_only_bundle_of_a_folder_is_found(bundle_copy: Copy) -> None:
    path = bundle_copy("v1_convt").path
    assert find_bundle(path.parent) == path

    bundle_copy("v1_paper")
    with pytest.raises(InputError, match="2 bundles"):
        find_bundle(path.parent)
    with pytest.raises(InputError, match="no bundle in"):
        find_bundle(path)
