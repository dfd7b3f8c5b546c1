"""Programs outside this repository: they find the library, and get the masks that Python gets."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from segdino_deploy import __version__, open_engine
from segdino_deploy.benchmarks.native.program import BUILD
from segdino_deploy.images import read_rgb
from segdino_deploy.native import cpp_directory, openvino_directory
from segdino_deploy.segment import segment_file
from tests.conftest import EXAMPLE
from tests.cpp.building import (
    CPP,
    NativeBuild,
    build,
    common_options,
    configure,
    header_options,
    needed_tool,
    run_checked,
)

CONSUMER = CPP / "tests" / "consumer"
IMAGE = sorted((EXAMPLE / "test" / "image").iterdir())[0]

Check = Callable[[Path], None]


@pytest.fixture(scope="module")
def gives_pythons_mask(demo_bundle: Path) -> Check:
    """Runs a consumer on one image."""
    with open_engine(demo_bundle) as runner:
        _, masks = segment_file(runner, IMAGE)
    rgb = read_rgb(IMAGE)
    expected = masks[""]
    assert len(np.unique(expected)) == 2, "a mask of one value would show nothing"

    def check(program: Path) -> None:
        height, width = expected.shape
        done = subprocess.run(
            [str(program), str(demo_bundle), str(width), str(height)], input=rgb.tobytes(), capture_output=True
        )
        assert done.returncode == 0, done.stderr.decode()
        assert done.stderr.decode() == f"{__version__}\n"
        np.testing.assert_array_equal(np.frombuffer(done.stdout, np.uint8).reshape(expected.shape), expected)

    return check


@pytest.fixture(scope="module")
def built_from_sources() -> Path:
    """A program that was built together with the sources, as a static library, which is installed beside it."""
    prefixes = f"-DCMAKE_PREFIX_PATH={cpp_directory()};{openvino_directory()}"
    options = ["-DCMAKE_BUILD_TYPE=Debug", "-DBUILD_SHARED_LIBS=OFF", "-DSEGDINO_INSTALL=ON"]
    return build("consumer", [prefixes, *options], source=CONSUMER, install=True)


@pytest.fixture(scope="module")
def static_prefix(built_from_sources: Path) -> Path:
    return built_from_sources / "prefix"


def build_consumer(directory: Path, options: Sequence[str]) -> Path:
    configure(CONSUMER, directory, options)
    run_checked([needed_tool("cmake"), "--build", directory, "--parallel", os.cpu_count()])
    return directory


def test_the_install_tree_can_be_moved_and_used_without_the_backends(
    native_build: NativeBuild, gives_pythons_mask: Check, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(native_build.prefix, moved, symlinks=True)

    built = build_consumer(tmp_path / "build", [f"-DCMAKE_PREFIX_PATH={moved}"])

    gives_pythons_mask(built / "consumer")
    gives_pythons_mask(built / "consumer_c")


def test_a_static_library_brings_what_it_was_linked_with(
    static_prefix: Path, gives_pythons_mask: Check, tmp_path: Path
) -> None:
    built = build_consumer(tmp_path, [f"-DCMAKE_PREFIX_PATH={static_prefix}"])

    gives_pythons_mask(built / "consumer")
    gives_pythons_mask(built / "consumer_c")
    linked = subprocess.run(["ldd", str(built / "consumer")], capture_output=True, text=True).stdout
    assert "libsegdino" not in linked


def test_the_sources_that_cpp_path_names_are_built_with_the_program(
    built_from_sources: Path, gives_pythons_mask: Check
) -> None:
    gives_pythons_mask(built_from_sources / "consumer")
    gives_pythons_mask(built_from_sources / "consumer_c")


def test_sources_are_a_shared_library_where_the_program_does_not_say(tmp_path: Path) -> None:
    done = configure(CONSUMER, tmp_path, [f"-DCMAKE_PREFIX_PATH={cpp_directory()}", *header_options()])

    targets = subprocess.run([needed_tool("cmake"), "--build", tmp_path, "--target", "help"], capture_output=True)
    assert done.returncode == 0
    assert b"libsegdino.so" in targets.stdout
    assert "BUILD_SHARED_LIBS" not in (tmp_path / "CMakeCache.txt").read_text(), "the program's own choice was made"


@pytest.mark.parametrize("kind", ["shared", "static"])
def test_pkg_config_is_enough_for_a_plain_compiler(
    kind: str, request: pytest.FixtureRequest, gives_pythons_mask: Check, tmp_path: Path
) -> None:
    is_static = kind == "static"
    prefix = request.getfixturevalue("static_prefix") if is_static else request.getfixturevalue("native_build").prefix
    (folder,) = prefix.rglob("segdino.pc")
    command = [needed_tool("pkg-config"), "--cflags", "--libs", *["--static"] * is_static, "segdino"]
    environment = os.environ | {"PKG_CONFIG_PATH": str(folder.parent)}
    flags = subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout.split()
    libraries = [flag.removeprefix("-L") for flag in flags if flag.startswith("-L")]
    rpath = [f"-Wl,-rpath,{path}" for path in libraries]
    if is_static:
        rpath.append(f"-Wl,-rpath,{openvino_directory() / 'libs'}")

    run_checked(["g++", "-std=c++17", CONSUMER / "main.cpp", "-o", tmp_path / "consumer", *flags, *rpath])

    gives_pythons_mask(tmp_path / "consumer")


def test_the_header_is_c99(native_build: NativeBuild, tmp_path: Path) -> None:
    for compiler in filter(shutil.which, ("gcc", "clang")):
        strict = ["-std=c99", "-Wall", "-Wextra", "-Wstrict-prototypes", "-pedantic", "-Werror", "-c"]
        include = f"-I{native_build.prefix / 'include'}"
        run_checked([compiler, *strict, include, CONSUMER / "main.c", "-o", tmp_path / "main.o"])


def test_the_headers_example_is_c99_without_a_warning(native_build: NativeBuild, tmp_path: Path) -> None:
    header = (CPP / "include" / "segdino" / "segdino.h").read_text()
    example = "\n".join(re.findall(r"^ \*     (.*)", header, re.MULTILINE))
    assert "segdino_open" in example
    top = "#include <stdio.h>\n#include <segdino/segdino.h>\n"
    begin = "void run(const uint8_t* pixels, int width, int height, uint8_t* mask);\n"
    (tmp_path / "example.c").write_text(f"{top}{begin}{begin.rstrip().rstrip(';')} {{\n{example}\n}}\n")

    strict = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror", "-fsyntax-only"]
    run_checked([needed_tool("gcc"), *strict, f"-I{native_build.prefix / 'include'}", tmp_path / "example.c"])


def test_only_the_public_names_are_exported(native_build: NativeBuild) -> None:
    command = [needed_tool("nm"), "--dynamic", "--defined-only", "--demangle", str(native_build.library)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    names = [line.split(maxsplit=2)[2] for line in lines]

    public = re.compile(r"((typeinfo|typeinfo name|vtable) for )?segdino::(?!detail)|segdino_[a-z_]+$")
    assert [name for name in names if not public.match(name)] == []
    declared = re.findall(r"\b(segdino_[a-z_]+)\(", (CPP / "include" / "segdino" / "segdino.h").read_text())
    assert set(declared) <= set(names)


def test_a_backend_that_is_asked_for_and_missing_stops_the_configuration(tmp_path: Path) -> None:
    done = configure(CPP, tmp_path, [*common_options(), "-DSEGDINO_WITH_TENSORRT=ON"], check=False)

    if done.returncode == 0:
        pytest.skip("TensorRT is installed here")
    assert "SEGDINO_WITH_TENSORRT=ON, but it was not found" in done.stdout
    assert "-DTensorRT_ROOT=" in done.stdout


@pytest.mark.parametrize("package", ["OpenVINO", "OnnxRuntime", "TensorRT_RTX"])
def test_a_root_that_holds_nothing_usable_is_not_passed_over(package: str, tmp_path: Path) -> None:
    names = {
        "OpenVINO": "OPENVINO",
        "OnnxRuntime": "ONNXRUNTIME",
        "TensorRT": "TENSORRT",
        "TensorRT_RTX": "TENSORRT_RTX",
    }
    others = [f"-DSEGDINO_WITH_{name}=OFF" for key, name in names.items() if key != package]

    done = configure(CPP, tmp_path, [*header_options(), *others, f"-D{package}_ROOT={tmp_path / 'no'}"], check=False)

    if done.returncode == 0:
        pytest.skip(f"{package} is installed here")
    said = " ".join(done.stdout.split())
    assert f"{names[package]}: nothing usable in {package}_ROOT={tmp_path / 'no'}: pass" in said
    assert f"or leave it out with -DSEGDINO_WITH_{names[package]}=OFF" in said


def test_a_backend_that_is_too_old_is_named_with_its_version(tmp_path: Path) -> None:
    """OpenVINO's own package takes a version for one of the same year alone."""
    old = tmp_path / "old"
    old.mkdir()
    (old / "OpenVINOConfig.cmake").write_text("add_library(openvino::runtime INTERFACE IMPORTED)")
    (old / "OpenVINOConfigVersion.cmake").write_text("set(PACKAGE_VERSION 2025.1.0)")

    done = configure(CPP, tmp_path / "build", [*header_options(), f"-DOpenVINO_DIR={old}"])

    assert f"OPENVINO: 2025.1.0 in {old} is too old: 2025.2 or newer is needed, pass" in done.stdout


def test_a_static_librarys_package_finds_onnx_runtime_where_it_was_or_says_how_to_name_it(tmp_path: Path) -> None:
    archive, prefix, build = tmp_path / "archive", tmp_path / "prefix", tmp_path / "build"
    for path, text in (
        (archive / "include" / "onnxruntime_c_api.h", "#define ORT_API_VERSION 22"),
        (archive / "lib" / "libonnxruntime.so", ""),
        (build / "libsegdino.a", ""),  # nothing is linked
    ):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    options = ["-DBUILD_SHARED_LIBS=OFF", "-DSEGDINO_BUILD_EXAMPLES=OFF", "-DSEGDINO_WITH_OPENVINO=OFF"]
    configure(CPP, build, [*header_options(), *options, f"-DOnnxRuntime_ROOT={archive}"])
    run_checked([needed_tool("cmake"), "--install", build, "--prefix", prefix])

    found = configure(CONSUMER, tmp_path / "here", [f"-DCMAKE_PREFIX_PATH={prefix}"])
    archive.rename(tmp_path / "elsewhere")
    missing = configure(CONSUMER, tmp_path / "there", [f"-DCMAKE_PREFIX_PATH={prefix}"], check=False)

    assert f"Found OnnxRuntime: {archive / 'lib' / 'libonnxruntime.so'}" in found.stdout
    assert missing.returncode
    assert "pass -DOnnxRuntime_ROOT=<the unpacked archive" in " ".join(missing.stdout.split())


def test_the_command_that_builds_segdino_bench_finds_the_sources_and_openvino_from_anywhere(tmp_path: Path) -> None:
    here = [str(Path(sys.executable).parent), str(Path(needed_tool("cmake")).parent), os.environ["PATH"]]
    environment = os.environ | {"PATH": os.pathsep.join(here)}
    (include,) = header_options() or [""]
    environment["CMAKE_INCLUDE_PATH"] = include.partition("=")[2]
    configuring, _, building = BUILD.partition(" && ")

    done = subprocess.run(
        configuring, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )

    assert re.search(r"OPENVINO: 20\d\d", done.stdout)
    folder = building.removeprefix("cmake --build ").split()[0]
    assert "SEGDINO_BUILD_BENCH:BOOL=ON" in (tmp_path / folder / "CMakeCache.txt").read_text()


def test_both_kinds_of_tensorrt_are_refused(tmp_path: Path) -> None:
    both = ["-DSEGDINO_WITH_TENSORRT=ON", "-DSEGDINO_WITH_TENSORRT_RTX=ON"]

    done = configure(CPP, tmp_path, [*common_options(), *both], check=False)

    assert done.returncode
    assert "TensorRT and TensorRT-RTX cannot be in one library" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("option", "cure"),
    [
        ("-DCMAKE_DISABLE_FIND_PACKAGE_OpenSSL=ON", "libssl-dev"),
        ("-DCMAKE_DISABLE_FIND_PACKAGE_ZLIB=ON", "zlib1g-dev"),
    ],
)
def test_a_missing_dependency_is_named_with_its_package(option: str, cure: str, tmp_path: Path) -> None:
    done = configure(CPP, tmp_path, [*common_options(), option], check=False)

    assert done.returncode
    assert f"apt-get install {cure}" in " ".join(done.stdout.split())


def test_the_summary_says_what_is_compiled_in(tmp_path: Path) -> None:
    done = configure(CPP, tmp_path, [*common_options(), "-DSEGDINO_WITH_ONNXRUNTIME=OFF"])

    assert f"segdino {__version__}" in done.stdout
    assert re.search(r"OPENVINO: 20\d\d", done.stdout)
    assert "ONNXRUNTIME: left out" in done.stdout


@pytest.mark.parametrize(
    ("option", "library", "parser", "header", "found"),
    [
        ("TensorRT", "nvinfer", "nvonnxparser", "#define NV_TENSORRT_{} {} //!< version", "TENSORRT: 10.3.0"),
        ("TensorRT", "nvinfer", "nvonnxparser", "#define TRT_{}_ENTERPRISE {}", "TENSORRT: 10.3.0"),
        ("TensorRT_RTX", "tensorrt_rtx", "tensorrt_onnxparser_rtx", "#define TRT_{}_RTX {}", "TENSORRT_RTX: 10.3.0"),
    ],
)
def test_tensorrt_is_found_where_its_archive_was_unpacked(
    option: str, library: str, parser: str, header: str, found: str, tmp_path: Path
) -> None:
    """Its layout alone: the files are empty. What is compiled against it is tested with a simulation."""
    archive, cuda = tmp_path / "archive", tmp_path / "cuda"
    version = [header.format(part, number) for part, number in (("MAJOR", 10), ("MINOR", 3), ("PATCH", 0))]
    for path, text in (
        (archive / "include" / "NvInferRuntime.h", ""),
        (archive / "include" / "NvOnnxParser.h", ""),
        (archive / "include" / "NvInferVersion.h", "\n".join(version)),
        (archive / "lib" / f"lib{library}.so", ""),
        (archive / "lib" / f"lib{parser}.so", ""),
        (cuda / "version.json", '{"cuda": {"version": "13.0.0"}}'),
        (cuda / "include" / "cuda_runtime.h", ""),
        (cuda / "lib64" / "libcudart.so", ""),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    options = [f"-D{option}_ROOT={archive}", f"-DCUDAToolkit_ROOT={cuda}", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"]

    done = configure(CPP, tmp_path / "build", [*common_options(), *options])

    assert found in done.stdout
    commands = json.loads((tmp_path / "build" / "compile_commands.json").read_text())
    (command,) = [entry["command"] for entry in commands if entry["file"].endswith("engine/tensorrt.cpp")]
    assert f"-DSEGDINO_WITH_{option.upper()} " in command
    assert "-DSEGDINO_WITH_NVONNXPARSER" in command
