"""What is named with --cpp is looked at before anything is measured."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from segdino_deploy.benchmarks.native.program import find_program
from segdino_deploy.errors import InputError
from tests.benchmarks.native.fake_program import GREETING, write_program


def test_a_program_that_answers_is_known_by_its_version_and_its_content(tmp_path: Path) -> None:
    path = write_program(tmp_path)

    program = find_program(path)

    assert program.path == path.absolute()
    assert program.version == "9.9"
    assert program.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert program.identity == f"9.9, segdino_bench {program.sha256[:12]}, image files by stb"


def test_a_library_that_is_built_again_makes_it_another_program(tmp_path: Path) -> None:
    library = tmp_path / "libsegdino.so"
    path = write_program(tmp_path, {**GREETING, "library": str(library)})
    library.write_bytes(b"one")
    first = find_program(path)
    library.write_bytes(b"other")

    assert hashlib.sha256(b"one").hexdigest()[:12] in first.identity
    assert find_program(path).identity != first.identity


def test_a_name_is_looked_for_where_programs_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_program(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_program(Path("segdino_bench")).path == path


def refused(named: Path) -> str:
    with pytest.raises(InputError) as caught:
        find_program(named)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(f"--cpp: {named}: ")
    return said


def test_a_program_that_is_not_there_is_refused_with_the_command_that_builds_it(tmp_path: Path) -> None:
    said = refused(tmp_path / "segdino_bench")

    assert 'no such program; build it: cmake -S "$(segdino-deploy cpp-path)" -B ' in said


def test_a_file_that_may_not_be_run_is_refused(tmp_path: Path) -> None:
    path = write_program(tmp_path)
    path.chmod(0o644)

    assert "may not be run: chmod +x it" in refused(path)


def test_a_file_for_another_machine_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "segdino_bench"
    path.write_bytes(b"\x7fELF of another machine")
    path.chmod(0o755)

    assert "cannot be run here" in refused(path)


@pytest.mark.parametrize("beginning", ["", "error: "])  # the loader's, the program's own
def test_a_library_that_is_missing_is_told_in_the_loaders_words(beginning: str, tmp_path: Path) -> None:
    path = write_program(tmp_path, tail=f"sys.exit('{beginning}libopenvino.so.9: cannot open shared object file')")

    said = refused(path)

    assert "does not answer as segdino_bench does (libopenvino.so.9: cannot open shared object file)" in said


@pytest.mark.parametrize("tail", ["print('hello'); sys.exit(0)", "print('[1]'); sys.exit(0)", "sys.exit(0)"])
def test_another_program_is_refused(tail: str, tmp_path: Path) -> None:
    assert "does not answer as segdino_bench does; build it" in refused(write_program(tmp_path, tail=tail))


@pytest.mark.parametrize("protocol", [0, 2])
def test_a_program_of_another_version_is_refused(protocol: int, tmp_path: Path) -> None:
    said = refused(write_program(tmp_path, {**GREETING, "protocol": protocol}))

    assert f"speaks protocol {protocol}, this version 1: library and package are of different versions" in said
