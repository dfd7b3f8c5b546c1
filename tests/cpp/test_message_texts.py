"""What the C++ library's messages hold: commands to copy into a shell, and others' errors in one line."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from segdino_deploy import Bundle
from segdino_deploy.bundle import MANIFEST
from segdino_deploy.engines.tensorrt.options import TensorRtOptions
from segdino_deploy.engines.tensorrt.versions import rebuild_command
from segdino_deploy.errors import one_line
from segdino_deploy.manifest import Manifest
from tests.cpp.bundle_cases import OPTIONS, record
from tests.cpp.bundle_probes import BundleProbes


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
