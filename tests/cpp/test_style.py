"""What `ruff` and `mypy` are for Python: the formatter's layout, and warnings that are errors in every test build."""

from __future__ import annotations

import json
import subprocess

from tests.cpp.building import CPP, NativeBuild, needed_tool

SUFFIXES = (".hpp", ".cpp", ".h", ".c")
WARNINGS = {"-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Wsign-conversion", "-Werror"}


def test_every_file_is_laid_out_by_clang_format() -> None:
    files = sorted(str(path) for path in CPP.rglob("*") if path.suffix in SUFFIXES)
    command = [needed_tool("clang-format"), "--dry-run", "-Werror", "--ferror-limit=1", *files]

    done = subprocess.run(command, capture_output=True, text=True, cwd=CPP)

    assert len(files) > 40
    assert done.returncode == 0, done.stderr


def test_warnings_are_errors_in_every_file_of_the_test_build(native_build: NativeBuild) -> None:
    entries = json.loads((native_build.directory / "compile_commands.json").read_text())
    ours = [entry for entry in entries if entry["file"].startswith(str(CPP))]

    assert len(ours) > 40
    for entry in ours:
        assert set(entry["command"].split()) >= WARNINGS, entry["file"]
        assert not {"-march=native", "-ffast-math"} & set(entry["command"].split()), entry["file"]
    assert all("-ffp-contract=off" in entry["command"] for entry in ours if f"{CPP}/src/" in entry["file"])
