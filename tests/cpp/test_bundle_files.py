"""A bundle's files in C++: what is none, and what differs from the manifest, is refused in Python's words."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from segdino_deploy import Bundle
from segdino_deploy.bundle import MANIFEST
from tests.cpp.bundle_cases import OPTIONS, Copy, record, refusal, with_engines
from tests.cpp.bundle_probes import BundleProbes, Refused, python_error


def assert_as_python(probes: BundleProbes, path: Path) -> Refused:
    """Both refuse the bundle with the same words."""
    refused = refusal(lambda: probes.check_files(path))
    assert str(refused) == python_error(lambda: Bundle.open(path))
    return refused


def test_an_intact_bundle_is_opened(crowded: Bundle, joint: Path, probes: BundleProbes) -> None:
    for path in (crowded.path, joint):
        probes.check_files(path)


@pytest.mark.parametrize("end", ["", "/", "//"])
def test_what_is_no_bundle_is_refused_in_pythons_words(end: str, tmp_path: Path, probes: BundleProbes) -> None:
    (tmp_path / "file.segdino").write_text("x")
    (tmp_path / "empty.segdino").mkdir()
    (tmp_path / "odd.segdino" / "manifest.json").mkdir(parents=True)

    for name in ("absent.segdino", "file.segdino", "empty.segdino"):
        refused = refusal(lambda name=name: probes.read_bundle(f"{tmp_path / name}{end}"))  # type: ignore[misc]
        assert str(refused) == python_error(lambda name=name: Bundle.open(f"{tmp_path / name}{end}"))  # type: ignore[misc]
    assert "not a bundle (no manifest.json)" in str(refusal(lambda: probes.read_bundle(tmp_path / "odd.segdino")))


def test_a_file_or_nothing_is_not_called_a_bundle_that_is_not_there(crowded: Bundle, probes: BundleProbes) -> None:
    for name in (MANIFEST, "engines/openvino-int8.xml"):
        refused = refusal(lambda name=name: probes.read_bundle(crowded.path / name))  # type: ignore[misc]
        assert str(refused).startswith(
            f"{crowded.path / name}: a file, not a bundle: name the folder with manifest.json"
        )
    assert str(refusal(lambda: probes.read_bundle(""))) == "bundle: the path is empty: name the folder of a bundle"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema_version": 1}', "null"])
def test_a_damaged_manifest_begins_with_pythons_words(content: str, crowded: Bundle, probes: BundleProbes) -> None:
    (crowded.path / MANIFEST).write_text(content)

    refused = refusal(lambda: probes.read_bundle(crowded.path))

    assert str(refused).startswith(python_error(lambda: Bundle.open(crowded.path)) + " (")


def test_a_manifest_too_large_to_be_one_is_not_read(crowded: Bundle, probes: BundleProbes) -> None:
    with (crowded.path / MANIFEST).open("wb") as file:
        file.truncate(1 << 40)  # takes no space

    assert "67108864 bytes at most" in str(refusal(lambda: probes.read_bundle(crowded.path)))


FILES = [
    "model.onnx",
    "canary.npz",
    "engines/tensorrt-fp16.plan",
    "engines/openvino-int8.xml",
    "engines/openvino-int8.bin",
    "engines/openvino-int8.toml",
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["one bit", "shorter", "longer", "empty", "missing"])
def test_a_file_that_differs_is_refused_in_pythons_words(
    name: str, damage: str, crowded: Bundle, probes: BundleProbes
) -> None:
    file = crowded.path / name
    content = bytearray(file.read_bytes())
    if damage == "one bit":
        content[len(content) // 2] ^= 1
    damaged = {"one bit": content, "shorter": content[:-1], "longer": content + b"x", "empty": b""}
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(damaged[damage])

    refused = assert_as_python(probes, crowded.path)

    assert f": {name} " in str(refused)
    says = {"one bit": "(its sha256 differs)", "missing": "is missing"}
    assert says.get(damage, "(its size differs)") in str(refused)
    expected = {"one bit": crowded.manifest.files[name].sha256, "missing": f"a file of {len(content)} bytes"}
    got = {"one bit": hashlib.sha256(content).hexdigest(), "missing": "none"}
    size = crowded.manifest.files[name].size_bytes
    assert refused.expected == expected.get(damage, f"{size} bytes")
    assert refused.got == got.get(damage, f"{len(damaged.get(damage, b''))} bytes")


def test_of_several_the_first_of_the_manifest_is_named(crowded: Bundle, probes: BundleProbes) -> None:
    for name in ("model.onnx", "engines/tensorrt-fp16.plan", "engines/openvino-int8.bin"):
        (crowded.path / name).write_bytes(b"x" * crowded.manifest.files[name].size_bytes)

    for _ in range(10):  # whichever thread is the first to see one
        assert "engines/openvino-int8.bin" in str(assert_as_python(probes, crowded.path))


def test_many_files_are_all_compared(bundle_copy: Copy, probes: BundleProbes) -> None:
    bundle = bundle_copy()
    bundle.update({f"report/{i:03}.png": bytes([i]) * (i * 100) for i in range(200)}, lambda manifest: manifest)
    probes.check_files(bundle.path)

    for i in (0, 7, 199):
        file = bundle.path / "report" / f"{i:03}.png"
        content = file.read_bytes()
        file.write_bytes(content + b"x")
        assert f"report/{i:03}.png was changed" in str(refusal(lambda: probes.check_files(bundle.path)))
        file.write_bytes(content)


def test_one_engines_files_alone_can_be_compared(crowded: Bundle, probes: BundleProbes) -> None:
    (crowded.path / "engines/openvino-int8.bin").write_bytes(b"x")
    (crowded.path / "model.onnx").write_bytes(b"x")

    probes.check_files(crowded.path, "tensorrt-fp16")
    assert "openvino-int8.bin was changed" in str(refusal(lambda: probes.check_files(crowded.path, "openvino-int8")))


def test_an_engine_without_weights_is_compared_with_the_file_that_holds_them(
    bundle_copy: Copy, probes: BundleProbes
) -> None:
    stripped = record("engines/t.plan", "tensorrt", "fp16", OPTIONS["stripped"])
    bundle = with_engines(bundle_copy(), {"t": stripped})
    probes.check_files(bundle.path, "t")
    (bundle.path / "model.onnx").write_bytes(b"x")

    assert "model.onnx was changed" in str(refusal(lambda: probes.check_files(bundle.path, "t")))


@pytest.mark.parametrize("kind", ["folder", "fifo", "dangling link", "link to a folder", "link to itself"])
def test_only_files_are_read(kind: str, crowded: Bundle, probes: BundleProbes) -> None:
    file = crowded.path / "canary.npz"
    file.unlink()
    make: dict[str, Callable[[], object]] = {
        "folder": file.mkdir,
        "fifo": lambda: os.mkfifo(file),  # whose reading would wait for ever
        "dangling link": lambda: file.symlink_to("nowhere"),
        "link to a folder": lambda: file.symlink_to("engines"),
        "link to itself": lambda: file.symlink_to("canary.npz"),
    }
    make[kind]()

    assert "canary.npz is missing" in str(assert_as_python(probes, crowded.path))


def test_a_link_to_the_same_content_is_fine(crowded: Bundle, tmp_path: Path, probes: BundleProbes) -> None:
    file = crowded.path / "model.onnx"
    file.rename(tmp_path / "elsewhere.onnx")
    file.symlink_to(tmp_path / "elsewhere.onnx")

    probes.check_files(crowded.path)


def test_a_manifest_that_is_a_pipe_is_no_manifest(crowded: Bundle, probes: BundleProbes) -> None:
    (crowded.path / MANIFEST).unlink()
    os.mkfifo(crowded.path / MANIFEST)

    assert "not a bundle (no manifest.json)" in str(refusal(lambda: probes.read_bundle(crowded.path)))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_named(crowded: Bundle, probes: BundleProbes) -> None:
    (crowded.path / "model.onnx").chmod(0)

    assert "model.onnx: cannot be read" in str(refusal(lambda: probes.check_files(crowded.path)))


@pytest.mark.parametrize("size", [0, 1, 55, 56, 64, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_sha256_is_that_of_hashlib(size: int, tmp_path: Path, probes: BundleProbes) -> None:
    content = (hashlib.sha256(str(size).encode()).digest() * (size // 32 + 1))[:size]
    (tmp_path / "file").write_bytes(content)

    assert probes.sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("name", ["absent", "."])
def test_sha256_of_what_cannot_be_read_is_an_error(name: str, tmp_path: Path, probes: BundleProbes) -> None:
    assert "cannot be read" in str(refusal(lambda: probes.sha256(tmp_path / name)))
