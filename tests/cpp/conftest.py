"""The C++ library, built once for all tests, and the bundles and manifests that they give it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from segdino_deploy import Bundle, build_engine, export_model
from segdino_deploy.engines.build import BuildOptions
from segdino_deploy.export.options import ExportOptions
from tests.conftest import EXAMPLE
from tests.cpp.building import NativeBuild, build
from tests.cpp.bundle_cases import OPTIONS, Copy, record, with_engines
from tests.cpp.bundle_probes import BundleProbes
from tests.cpp.capi import NativeLibrary, NativeSegmenter
from tests.cpp.manifest_cases import Content, smallest_manifest

SANITIZERS = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "LSAN_OPTIONS": f"suppressions={Path(__file__).with_name('leaks.txt')}:print_suppressions=0",
    "TBB_ENABLE_SANITIZERS": "1",  # else OpenVINO's TBB opens a library in a way that sanitizers refuse
}
# Half the compiler's time of RelWithDebInfo's own flags, and stacks in which every line is still told.
DEBUGGABLE = ["-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g1"]


@pytest.fixture(scope="session")
def native_build() -> NativeBuild:
    """As users build it, with OpenVINO, and with everything else that the tests run."""
    options = ["-DCMAKE_BUILD_TYPE=Release", "-DSEGDINO_WITH_OPENVINO=ON", "-DSEGDINO_BUILD_TESTS=ON"]
    directory = build("release", [*options, "-DSEGDINO_BUILD_BENCH=ON"], install=True)
    return NativeBuild(directory, directory / "prefix")


@pytest.fixture(scope="session")
def library(native_build: NativeBuild) -> NativeLibrary:
    return NativeLibrary(native_build.library)


@pytest.fixture(scope="session")
def demo_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged checkpoint with an fp32 engine of OpenVINO. Never change it."""
    path = tmp_path_factory.mktemp("demo") / "demo.segdino"
    bundle = export_model(EXAMPLE / "small_v1_convt.pth", path, ExportOptions(class_names=("white_matter",)))
    build_engine(bundle, BuildOptions("fp32", "openvino", lowering=("none",)))
    return path


@pytest.fixture
def demo_copy(demo_bundle: Path, tmp_path: Path) -> Path:
    """A private copy of `demo_bundle`, free to be damaged."""
    shutil.copytree(demo_bundle, tmp_path / "demo.segdino")
    return tmp_path / "demo.segdino"


@pytest.fixture
def segmenter(demo_bundle: Path, library: NativeLibrary) -> Iterator[NativeSegmenter]:
    with library.open(demo_bundle) as opened:
        yield opened


@pytest.fixture(scope="session")
def probes(native_build: NativeBuild) -> BundleProbes:
    """Of bundles. The files about images have their own."""
    return BundleProbes(native_build.probes)


@pytest.fixture
def content() -> Content:
    """A manifest of one head and three engines, free to be changed."""
    return smallest_manifest()


@pytest.fixture
def crowded(bundle_copy: Copy) -> Bundle:
    """With an int8 engine of two files and a recipe, and one of TensorRT with options."""
    openvino = record("engines/openvino-int8.xml", "openvino", "int8").model_copy(
        update={"companions": ["engines/openvino-int8.bin"]}
    )
    tensorrt = record("engines/tensorrt-fp16.plan", "tensorrt", "fp16", OPTIONS["many"])
    return with_engines(bundle_copy(), {"tensorrt-fp16": tensorrt, "openvino-int8": openvino})


@pytest.fixture(scope="session")
def sanitized_build() -> NativeBuild:
    """With AddressSanitizer and UndefinedBehaviorSanitizer: the first thing they find ends the program."""
    options = [*DEBUGGABLE, "-DSEGDINO_WITH_OPENVINO=ON", "-DSEGDINO_BUILD_TESTS=ON"]
    directory = build("sanitize", [*options, "-DSEGDINO_SANITIZE=address,undefined"])
    return NativeBuild(directory, directory / "prefix", SANITIZERS)


@pytest.fixture(scope="session")
def fuzz_build(tmp_path_factory: pytest.TempPathFactory) -> NativeBuild:
    """The fuzz targets, which need no backend."""
    clang = _clang_with_libfuzzer(tmp_path_factory.mktemp("clang"))
    options = [f"-DCMAKE_CXX_COMPILER={clang}", *DEBUGGABLE, "-DSEGDINO_FUZZ=ON"]
    without = ["-DSEGDINO_BUILD_EXAMPLES=OFF", "-DSEGDINO_WITH_OPENVINO=OFF", "-DSEGDINO_WITH_ONNXRUNTIME=OFF"]
    directory = build("fuzz", [*options, *without])
    return NativeBuild(directory, directory / "prefix", SANITIZERS)


def _clang_with_libfuzzer(directory: Path) -> str:
    clang = shutil.which("clang++")
    if clang is None:
        pytest.skip("clang++ is not installed")
    source = directory / "empty.cpp"
    source.write_text('extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, decltype(sizeof 0)) { return 0; }\n')
    command = [clang, "-fsanitize=fuzzer,address,undefined", str(source), "-o", str(directory / "empty")]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("clang++ has no libFuzzer here (apt-get install libclang-rt-dev)")
    return clang
