"""The program that runs engines in C++, and whether it is one that can be talked to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from segdino_deploy.atomic import sha256_of
from segdino_deploy.errors import InputError, one_line

PROTOCOL = 1  # of cpp/bench/serve.hpp
NAME = "segdino_bench"
BUILD = (
    'cmake -S "$(segdino-deploy cpp-path)" -B build-segdino -DSEGDINO_BUILD_BENCH=ON '
    '-DCMAKE_PREFIX_PATH="$(segdino-deploy cpp-path --openvino)" && '
    "cmake --build build-segdino --target segdino_bench, then --cpp build-segdino/bench/segdino_bench"
)
ANSWERS_WITHIN_S = 60.0  # a cold disk and large libraries


@dataclass(frozen=True)
class Program:
    """`segdino_bench`, which has answered."""

    path: Path  # absolute
    version: str  # of the C++ library
    sha256: str  # of the file
    library_sha256: str | None  # of libsegdino; None where it is part of the program
    image_files: str  # what reads them there, "stb" or "OpenCV 4.6.0": Pillow does here

    @property
    def identity(self) -> str:
        """What its answers depend on beside the engine."""
        library = "" if self.library_sha256 is None else f", library {self.library_sha256[:12]}"
        return f"{self.version}, {NAME} {self.sha256[:12]}{library}, image files by {self.image_files}"


def find_program(named: Path) -> Program:
    """The program `named`, a file or a name to be found where programs are.

    InputError, with the cure: no such file, none that runs here, none of ours, or one of another version's protocol.
    """
    path = _locate(named)
    try:
        said = subprocess.run(
            [path, "--version"], capture_output=True, text=True, errors="replace", timeout=ANSWERS_WITHIN_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"--cpp: {named}: cannot be run here ({one_line(error)}); build it here: {BUILD}") from error
    greeting = _greeting(said.stdout)
    if said.returncode or greeting is None:
        told = said.stderr.strip().splitlines()
        why = f" ({told[-1].removeprefix('error: ')})" if told else ""
        raise InputError(f"--cpp: {named}: does not answer as {NAME} does{why}; build it: {BUILD}")
    if greeting.get("protocol") != PROTOCOL:
        raise InputError(
            f"--cpp: {named}: speaks protocol {greeting.get('protocol')}, this version {PROTOCOL}: library and package "
            f"are of different versions; build it again: {BUILD}"
        )
    said_of = {key: str(greeting.get(key, "unknown")) for key in ("version", "image_files")}
    library = Path(str(greeting.get("library", "")))
    library_sha256 = sha256_of(library) if library.is_file() else None
    return Program(path, sha256=sha256_of(path), library_sha256=library_sha256, **said_of)


def _locate(named: Path) -> Path:
    if named.is_file():
        if not os.access(named, os.X_OK):
            raise InputError(f"--cpp: {named}: may not be run: chmod +x it, or name another file")
        return named.absolute()
    found = shutil.which(str(named))
    if found is None:
        raise InputError(f"--cpp: {named}: no such program; build it: {BUILD}")
    return Path(found).absolute()


def _greeting(text: str) -> dict[str, object] | None:
    """The first line, where it is what the program greets with."""
    try:
        said = json.loads(text.partition("\n")[0])
    except ValueError:
        return None
    return said if isinstance(said, dict) and said.get("program") == NAME else None
