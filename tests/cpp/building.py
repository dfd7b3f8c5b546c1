"""Building the C++ library for the tests: incremental, one worker at a time, its output shown where it fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest
from filelock import FileLock

from segdino_deploy.errors import MissingComponent
from segdino_deploy.machine import usable_threads
from segdino_deploy.native import openvino_directory

ROOT = Path(__file__).parent.parent.parent
CPP = ROOT / "cpp"
BUILDS = ROOT / "build"
SHOWN_LINES = 60
EXAMPLES = {
    "segment_image": "neither OpenCV nor stb is installed (apt-get install libstb-dev)",
    "segment_camera": "OpenCV is not installed (apt-get install libopencv-dev)",
    "segdino_bench": "neither OpenCV nor stb is installed (apt-get install libstb-dev)",
}


@dataclass(frozen=True)
class NativeBuild:
    """A finished build. `environment`: what its programs run in."""

    directory: Path
    prefix: Path  # where it was installed, if it was
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def library(self) -> Path:
        return self.directory / "libsegdino.so"

    @property
    def probes(self) -> Path:
        return self.directory / "tests" / "libsegdino_probes.so"

    def bin(self, name: str) -> Path:
        """A program. Skips where one was left out, because nothing is installed that reads images."""
        folders = ("examples", "bench", "tests")
        found = [path for path in (self.directory / folder / name for folder in folders) if path.is_file()]
        if not found and name in EXAMPLES:
            pytest.skip(f"{name} was not built: {EXAMPLES[name]}")
        assert found, f"{name} is not among the programs of {self.directory}"
        return found[0]

    def run(self, name: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        """One of the programs, with what it wrote."""
        command = [str(self.bin(name)), *map(str, arguments)]
        environment = os.environ | self.environment
        return subprocess.run(command, capture_output=True, text=True, env=environment, **options)  # type: ignore[call-overload]

    @property
    def python_environment(self) -> dict[str, str]:
        """What a Python that loads a sanitized library runs in.

        The sanitizer's own library has to be there from the start, and with it the one that throws exceptions.
        """
        runtimes = [
            subprocess.run([compiler(), f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
            for name in ("libasan.so", "libstdc++.so")
        ]
        options = f"{self.environment['ASAN_OPTIONS']}:detect_leaks=0"  # Python's own
        return {**self.environment, "LD_PRELOAD": ":".join(runtimes), "ASAN_OPTIONS": options}


def tool(name: str) -> str | None:
    """A program of this Python's environment, or of the system."""
    return shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


def needed_tool(name: str) -> str:
    found = tool(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def compiler() -> str:
    for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++"):
        if name and shutil.which(name):
            return name
    pytest.skip("no C++ compiler is installed")


def header_options() -> list[str]:
    """Where the header library is that a Python package carries, for systems without it."""
    package = find_spec("nlohmann_json")
    if package is None or package.origin is None:
        return []
    return [f"-DCMAKE_INCLUDE_PATH={Path(package.origin).parent / 'include'}"]


def common_options() -> list[str]:
    """Where the dependencies are that Python packages carry."""
    try:
        return [*header_options(), f"-DCMAKE_PREFIX_PATH={openvino_directory()}"]
    except MissingComponent as error:
        pytest.skip(str(error))


def configure(
    source: Path, directory: Path, options: Sequence[str], check: bool = True
) -> subprocess.CompletedProcess[str]:
    compiler()
    generator = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}"] if tool("ninja") else []
    command = [needed_tool("cmake"), "-S", source, "-B", directory, *generator, *options]
    done = _run(command)
    if done.returncode and (directory / "CMakeCache.txt").exists():  # made by another generator, or moved
        shutil.rmtree(directory)
        done = _run(command)
    if check:
        _check(done)
    return done


def build(kind: str, options: Sequence[str], source: Path = CPP, install: bool = False) -> Path:
    """`build/cpp-<kind>`, up to date. Skips where a dependency is missing, fails with the compiler's words."""
    directory = BUILDS / f"cpp-{kind}"
    directory.mkdir(parents=True, exist_ok=True)
    with FileLock(BUILDS / f"cpp-{kind}.lock"):
        configure(
            source,
            directory,
            ["-DSEGDINO_WERROR=ON", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", *common_options(), *options],
        )  # the last of a name counts
        run_checked([needed_tool("cmake"), "--build", directory, "--parallel", usable_threads()])
        if install:
            run_checked([needed_tool("cmake"), "--install", directory, "--prefix", directory / "prefix"])
    return directory


def run_checked(command: Sequence[object]) -> None:
    """Fails with what the command has printed; skips where that is a missing dependency."""
    _check(_run(command))


def _run(command: Sequence[object]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _check(done: subprocess.CompletedProcess[str]) -> None:
    if not done.returncode:
        return
    lines = done.stdout.splitlines()
    missing = [line.strip() for line in lines if "segdino:" in line and "not found" in line]
    if missing:
        pytest.skip(" ".join(missing))
    pytest.fail("\n".join([" ".join(done.args), *lines[-SHOWN_LINES:]]), pytrace=False)
