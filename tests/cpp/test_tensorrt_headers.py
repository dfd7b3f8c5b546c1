"""The TensorRT backend compiles against NVIDIA's headers, of every version that is here, without a warning.

SEGDINO_TENSORRT_INCLUDE: include folders separated by colons, each with the headers of one TensorRT 10 or 11, or of one
TensorRT-RTX. SEGDINO_CUDA_INCLUDE: the include folders of one CUDA runtime, in the same form.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cpp.building import CPP, compiler

FOLDERS = [Path(path) for path in os.environ.get("SEGDINO_TENSORRT_INCLUDE", "").split(":") if path]
CUDA = [Path(path) for path in os.environ.get("SEGDINO_CUDA_INCLUDE", "").split(":") if path]
ENGINE = CPP / "src" / "engine"
SOURCES = [*sorted(ENGINE.glob("tensorrt*.cpp")), ENGINE / "cuda.cpp", ENGINE / "mapped_file.cpp"]
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Wsign-conversion", "-Werror"]

needs_headers = pytest.mark.skipif(
    not (FOLDERS and CUDA), reason="SEGDINO_TENSORRT_INCLUDE and SEGDINO_CUDA_INCLUDE name no folders with headers"
)
folders = pytest.mark.parametrize("folder", FOLDERS or [Path()], ids=lambda path: path.name or "none")


def compile_source(source: Path, folder: Path, name: str, *definitions: str) -> subprocess.CompletedProcess[str]:
    """Up to an object file, which is thrown away."""
    system = [part for path in (folder, *CUDA) for part in ("-isystem", str(path))]
    own = [f"-I{CPP / 'include'}", f"-I{CPP / 'src'}"]
    command = [name, "-std=c++17", "-O1", *WARNINGS, *own, *system, *definitions, "-c", str(source), "-o", os.devnull]
    return subprocess.run(command, capture_output=True, text=True)


def product_of(folder: Path) -> str:
    version = (folder / "NvInferVersion.h").read_text()
    return "SEGDINO_WITH_TENSORRT_RTX" if "TRT_MAJOR_RTX" in version else "SEGDINO_WITH_TENSORRT"


@needs_headers
@folders
@pytest.mark.parametrize("name", ["g++", "clang++"])
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_every_source_compiles_without_a_warning(source: Path, name: str, folder: Path) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    parsers = [[], ["-DSEGDINO_WITH_NVONNXPARSER"]] if (folder / "NvOnnxParser.h").is_file() else [[]]
    for definitions in parsers if source.stem == "tensorrt_weights" else parsers[:1]:
        done = compile_source(source, folder, name, f"-D{product_of(folder)}", *definitions)
        assert done.returncode == 0, done.stderr


@needs_headers
def test_one_build_cannot_hold_both_products() -> None:
    both = ("-DSEGDINO_WITH_TENSORRT", "-DSEGDINO_WITH_TENSORRT_RTX")

    done = compile_source(ENGINE / "tensorrt_messages.cpp", FOLDERS[0], compiler(), *both)

    assert done.returncode != 0
    assert "a build can hold one of them" in done.stderr
