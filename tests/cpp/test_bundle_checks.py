"""Opening a bundle in C++: what is refused, in Python's words, and which engines are tried."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shlex
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from segdino_deploy import Bundle
from segdino_deploy.bundle import MANIFEST
from segdino_deploy.engines.run import RUNNERS, _candidates, open_engine
from segdino_deploy.engines.tensorrt.options import TensorRtOptions
from segdino_deploy.engines.tensorrt.versions import options_for_receipt, rebuild_command
from segdino_deploy.errors import one_line
from segdino_deploy.manifest import PRECISIONS, Engine, Manifest, Precision
from tests.cpp.building import NativeBuild
from tests.cpp.bundle_probes import BundleProbes, Refused, python_error

Copy = Callable[..., Bundle]

OPTIONS = {
    "none": TensorRtOptions(),
    "one": TensorRtOptions(workspace_mib=512),
    "many": TensorRtOptions(
        workspace_mib=1,
        optimization_level=5,
        aux_streams=0,
        version_compatible=True,
        hardware_compatible="ampere-plus",
        refittable=True,
        compute_capabilities=("8.9", "8.6"),
        dla_core=1,
        timing_cache=Path("some.cache"),
        low_memory=True,
    ),
    "stripped": TensorRtOptions(strip_weights=True, hardware_compatible="same"),
}


@pytest.fixture(scope="module")
def probes(native_build: NativeBuild) -> BundleProbes:
    return BundleProbes(native_build.probes)


def record(file: str, backend: str, precision: Precision, options: TensorRtOptions | None = None) -> Engine:
    given = options_for_receipt(options) if options else {}
    return Engine(
        file=file,
        backend=backend,
        precision=precision,
        source="model.onnx",
        built_with={},
        receipt={"options": given} if given else {},
    )


def with_engines(bundle: Bundle, engines: dict[str, Engine]) -> Bundle:
    """The bundle with engines whose files hold nothing that could run."""
    files = {
        file: name.encode() * 1000 for name, engine in engines.items() for file in {*engine.files, *engine.read_files}
    }
    bundle.update(files, lambda manifest: manifest.model_copy(update={"engines": engines}))
    return bundle


@pytest.fixture
def crowded(bundle_copy: Copy) -> Bundle:
    """With an int8 engine of two files and a recipe, and one of TensorRT with options."""
    openvino = record("engines/openvino-int8.xml", "openvino", "int8").model_copy(
        update={"companions": ["engines/openvino-int8.bin"]}
    )
    tensorrt = record("engines/tensorrt-fp16.plan", "tensorrt", "fp16", OPTIONS["many"])
    return with_engines(bundle_copy(), {"tensorrt-fp16": tensorrt, "openvino-int8": openvino})


def refusal(call: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as caught:
        call()
    assert caught.value.kind == "InputError"
    assert "\n" not in str(caught.value)
    return caught.value


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


def commit_by_hand(bundle: Bundle) -> Path:
    """As a writer that was killed right after its change had become the bundle's."""
    commit = bundle.path / ".commit"
    commit.mkdir()
    shutil.copy(bundle.path / MANIFEST, commit / MANIFEST)
    return commit


def test_a_change_that_was_cut_off_is_left_to_python(crowded: Bundle, probes: BundleProbes) -> None:
    commit_by_hand(crowded)

    refused = refusal(lambda: probes.read_bundle(crowded.path))

    command = f"segdino-deploy inspect {crowded.path}"
    assert str(refused) == f"{crowded.path}: a change to it is not complete; finish it with: {command}"
    Bundle.open(crowded.path)  # as that command does
    probes.check_files(crowded.path)


def test_a_change_that_is_going_on_is_waited_for(crowded: Bundle, probes: BundleProbes) -> None:
    commit = commit_by_hand(crowded)

    def finish() -> None:
        time.sleep(0.3)
        (commit / MANIFEST).replace(crowded.path / MANIFEST)

    writer = threading.Thread(target=finish)
    writer.start()
    found = probes.read_bundle(crowded.path)
    writer.join()

    assert len(found["files"]) == len(crowded.manifest.files)


def test_a_change_between_reading_and_comparing_is_no_damage(crowded: Bundle, probes: BundleProbes) -> None:
    old = (crowded.path / MANIFEST).read_bytes()
    crowded.update({"canary.npz": b"another"}, lambda manifest: manifest)

    with pytest.raises(Refused, match="was written while it was being opened; open it again") as refused:
        probes.check_files_of(crowded.path, old)

    assert refused.value.kind == "BundleChanged"
    probes.check_files(crowded.path)


def all_engines(bundle: Bundle) -> Bundle:
    names = [(backend, precision) for precision in PRECISIONS for backend in reversed(RUNNERS)]
    return with_engines(bundle, {f"{b}-{p}": record(f"engines/{b}-{p}.bin", b, p) for b, p in names})


@pytest.mark.parametrize("stock", ["all", "two", "none"])
def test_engines_are_tried_in_pythons_order(stock: str, bundle_copy: Copy, probes: BundleProbes) -> None:
    bundle = bundle_copy()
    if stock == "all":
        all_engines(bundle)
    if stock == "two":
        two = {"b": record("engines/b.xml", "openvino", "fp32"), "a": record("engines/a.onnx", "onnxruntime", "int8")}
        with_engines(bundle, two)
    manifest = (bundle.path / MANIFEST).read_bytes()
    by_file = {engine.file: name for name, engine in bundle.manifest.engines.items()}
    for backend, precision in itertools.product(("", *RUNNERS), ("", *PRECISIONS)):
        chosen: list[str] = []

        def choose(precision: str = precision, backend: str = backend, chosen: list[str] = chosen) -> None:
            _, engines = _candidates(bundle.path, precision or None, backend or None)
            chosen.extend(by_file[engine.file] for engine in engines)

        message = python_error(choose)
        if message:
            with pytest.raises(Refused) as refused:
                probes.choose_engines(bundle.path, manifest, backend=backend, precision=precision)
            assert str(refused.value) == message
        else:
            assert probes.choose_engines(bundle.path, manifest, backend=backend, precision=precision) == chosen


def test_names_that_nobody_knows_are_refused_in_pythons_words(crowded: Bundle, probes: BundleProbes) -> None:
    manifest = (crowded.path / MANIFEST).read_bytes()
    for option, name in (("precision", "fp8"), ("backend", "torch"), ("backend", "OpenVINO")):
        refused = refusal(lambda asked={option: name}: probes.choose_engines(crowded.path, manifest, **asked))  # type: ignore[misc]

        said = python_error(lambda asked={option: name}: open_engine(crowded.path, **asked))  # type: ignore[misc]
        assert said == f"--{refused}"  # which is an option of the command line there


def test_an_engine_asked_for_by_name_is_never_replaced(crowded: Bundle, probes: BundleProbes) -> None:
    manifest = (crowded.path / MANIFEST).read_bytes()
    assert probes.choose_engines(crowded.path, manifest, "openvino-int8") == ["openvino-int8"]
    assert probes.choose_engines(crowded.path, manifest, "openvino-int8", "openvino", "int8") == ["openvino-int8"]

    absent = refusal(lambda: probes.choose_engines(crowded.path, manifest, "openvino-fp32"))
    other = refusal(lambda: probes.choose_engines(crowded.path, manifest, "openvino-int8", precision="fp16"))

    has = "tensorrt-fp16, openvino-int8"
    assert str(absent) == f"{crowded.path}: no engine named openvino-fp32 (has: {has})"
    assert (absent.expected, absent.got) == ("openvino-fp32", has)
    assert str(other) == f"{crowded.path}: openvino-int8 is a openvino int8 engine, another was asked for"


def test_a_backend_of_a_later_version_comes_last(bundle_copy: Copy, probes: BundleProbes) -> None:
    engines = {"new": record("engines/new.bin", "npu", "fp16"), "old": record("engines/old.xml", "openvino", "fp16")}
    bundle = with_engines(bundle_copy(), engines)

    assert probes.choose_engines(bundle.path, (bundle.path / MANIFEST).read_bytes()) == ["old", "new"]


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
@pytest.mark.parametrize("same_targets", [False, True])
@pytest.mark.parametrize("folder", ["polyp.segdino", "my polyps.segdino", "it's.segdino"])
def test_the_command_that_builds_an_engine_again_is_pythons(
    folder: str, same_targets: bool, options: TensorRtOptions, exported: Callable[[str], Path], probes: BundleProbes
) -> None:
    engine = record("engines/t.plan", "tensorrt-rtx", "fp16", options)
    manifest = Bundle.open(exported("v1_convt")).manifest
    files = {**manifest.files, engine.file: manifest.files["model.onnx"]}
    content = manifest.model_copy(update={"engines": {"t": engine}, "files": files}).model_dump_json().encode()
    Manifest.model_validate(json.loads(content))
    path = Path("/data") / folder

    assert probes.rebuild_command(path, content, "t", same_targets) == rebuild_command(
        engine, path, same_targets=same_targets
    )


def test_nothing_of_a_manifest_becomes_a_command_of_its_own(
    exported: Callable[[str], Path], probes: BundleProbes
) -> None:
    """The words of the command line are quoted: people copy it into their shells."""
    manifest = json.loads((exported("v1_convt") / MANIFEST).read_bytes())
    hostile = {"file": "e", "backend": "tensorrt; rm -rf /", "precision": "fp16", "source": "s", "built_with": {}}
    hostile["receipt"] = {"options": {"workspace_mib": "$(reboot)", "x; halt": True}}
    manifest["engines"] = {"e": hostile}
    manifest["files"]["e"] = manifest["files"]["model.onnx"]

    command = probes.rebuild_command(Path("b"), json.dumps(manifest).encode(), "e", True)

    words = ["segdino-deploy", "build-engine", "b", "--fp16", "--backend", "tensorrt; rm -rf /"]
    assert shlex.split(command) == [*words, "--workspace", "$(reboot)", "--x; halt"]


@pytest.mark.parametrize("size", [0, 1, 55, 56, 64, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_sha256_is_that_of_hashlib(size: int, tmp_path: Path, probes: BundleProbes) -> None:
    content = (hashlib.sha256(str(size).encode()).digest() * (size // 32 + 1))[:size]
    (tmp_path / "file").write_bytes(content)

    assert probes.sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("name", ["absent", "."])
def test_sha256_of_what_cannot_be_read_is_an_error(name: str, tmp_path: Path, probes: BundleProbes) -> None:
    assert "cannot be read" in str(refusal(lambda: probes.sha256(tmp_path / name)))


@pytest.mark.parametrize(
    "text", ["", "plain", "a b", "it's", "'", "$HOME", "a;b", "größe", "--x=1,2", "a\tb", "~", "*"]
)
def test_words_are_quoted_as_in_python(text: str, probes: BundleProbes) -> None:
    assert probes.shell_quoted(text) == shlex.quote(text)


LONG = "word " * 100
FOREIGN = ["one", "  one  ", "one\ntwo", "\n\n one\r\ntwo", "x" * 300, "x" * 301, LONG, "", "tab\tinside"]


@pytest.mark.parametrize("text", FOREIGN)
def test_foreign_errors_are_cut_to_one_line_as_in_python(text: str, probes: BundleProbes) -> None:
    in_python = one_line(Exception(text))
    found = probes.one_line(text)

    if len(text) <= 300:
        assert found == (in_python if text else "")
    else:  # counted in bytes, of which the ellipsis has three
        assert found.endswith("…")
        assert in_python.startswith(found[:-1])
        assert len(found.encode()) == 300


def test_no_character_is_cut_in_two(probes: BundleProbes) -> None:
    for length in range(290, 310):
        found = probes.one_line("x" * length + "ßß" + "𝄞" * 10)  # would not decode

        assert found.endswith("…")
        assert len(found.encode()) <= 300
