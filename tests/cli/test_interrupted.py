"""Ctrl-C: one line, exit code 130, and nothing half-written."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from segdino_deploy import Bundle
from tests.cli.conftest import Cli

Copy = Callable[..., Bundle]
SAID = "error: interrupted; nothing half-written is left behind"


def test_an_interrupted_build_says_so_and_leaves_the_bundle_as_it_was(bundle_copy: Copy) -> None:
    bundle = bundle_copy()
    call = [sys.executable, "-m", "segdino_deploy.cli.app", "build-engine", str(bundle.path), "--fp32"]
    process = subprocess.Popen([*call, "--backend", "onnxruntime"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process:
        for line in process.stderr:
            if line.startswith("building the onnxruntime fp32 engine"):
                process.send_signal(signal.SIGINT)
                break
        last = process.stderr.read().splitlines()[-1]

    assert (process.returncode, last) == (130, SAID)
    assert Bundle.open(bundle.path).manifest == bundle.manifest
    assert [entry.name for entry in bundle.path.iterdir() if entry.name.startswith(".build")] == []


@pytest.mark.parametrize("command", ["verify", "build-engine"])
def test_every_command_ends_with_the_same_line(
    command: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> Bundle:
        raise KeyboardInterrupt

    monkeypatch.setattr(Bundle, "open", interrupted)
    result = cli(command, tmp_path, *(["--fp32", "--backend", "onnxruntime"] if command == "build-engine" else []))

    assert (result.code, result.error) == (130, SAID)


def test_ctrl_c_while_a_compiled_module_is_imported_is_no_bug(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def importing(*_: object, **__: object) -> Bundle:
        raise ImportError("initialization failed") from KeyboardInterrupt()  # as pybind11 tells it

    monkeypatch.setattr(Bundle, "open", importing)
    result = cli("verify", tmp_path)

    assert (result.code, result.error) == (130, SAID)
