"""Opening a bundle in C++: the engine that was checked is the one that runs, and what is wrong is told."""

from __future__ import annotations

import ctypes
import hashlib
import json
import shutil
from ctypes import byref, c_void_p
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from segdino_deploy.native import openvino_directory
from tests.conftest import EXAMPLE
from tests.cpp.building import NativeBuild
from tests.cpp.capi import EngineError, InputError, NativeLibrary
from tests.cpp.capi_structs import OptionsStruct

UInt8 = NDArray[np.uint8]
IMAGE = sorted((EXAMPLE / "test" / "image").iterdir())[0]


@pytest.fixture(scope="module")
def library(native_build: NativeBuild) -> NativeLibrary:
    return NativeLibrary(native_build.library)


def record_anew(bundle: Path, name: str) -> None:
    """As if the file had been written so."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    content = (bundle / name).read_bytes()
    manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def test_what_was_compared_is_told_apart_from_the_message(demo_copy: Path, library: NativeLibrary) -> None:
    recorded = json.loads((demo_copy / "manifest.json").read_text())["files"]["model.onnx"]["sha256"]
    damage = bytearray((demo_copy / "model.onnx").read_bytes())
    damage[-1] ^= 1
    (demo_copy / "model.onnx").write_bytes(damage)

    with pytest.raises(InputError) as error:
        library.open(demo_copy)

    assert (error.value.expected, error.value.got) == (recorded, hashlib.sha256(damage).hexdigest())


@pytest.mark.parametrize("threads", [-1, -(2**31)])
def test_fewer_than_no_threads_are_refused(threads: int, demo_bundle: Path, library: NativeLibrary) -> None:
    with pytest.raises(InputError, match=f"threads is {threads}: 0"):
        library.open(demo_bundle, threads=threads)


def test_what_a_newer_header_asks_for_is_refused_not_ignored(demo_bundle: Path, library: NativeLibrary) -> None:
    class Newer(ctypes.Structure):
        _fields_ = (("known", OptionsStruct), ("unknown", ctypes.c_size_t))

    handle = c_void_p()
    options = Newer()
    options.known.struct_size = ctypes.sizeof(Newer)
    pointer = ctypes.cast(byref(options), ctypes.POINTER(OptionsStruct))
    library.call("segdino_open", str(demo_bundle).encode(), pointer, byref(handle))
    library.c.segdino_close(handle)

    options.unknown = 1
    with pytest.raises(InputError, match="asks for something that this library"):
        library.call("segdino_open", str(demo_bundle).encode(), pointer, byref(handle))


def test_a_folder_of_compiled_models_never_gives_those_of_other_weights(
    demo_bundle: Path, library: NativeLibrary, tmp_path: Path
) -> None:
    """OpenVINO's own cache knows a model by its path and graph, not by its weights."""
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)

    def mask(**options: Any) -> UInt8:
        with library.open(place, **options) as segmenter:
            return segmenter.segment(image)

    place, cache = tmp_path / "model.segdino", tmp_path / "cache"
    shutil.copytree(demo_bundle, place)
    before = mask(cache=cache)
    assert any(cache.rglob("*.blob"))
    assert np.array_equal(mask(cache=cache), before)

    engine = json.loads((place / "manifest.json").read_text())["engines"]["openvino-fp32"]
    weights = place / engine["companions"][0]
    values = np.frombuffer(weights.read_bytes(), np.uint8).copy()
    floats = values[: len(values) // 4 * 4].view(np.float32)
    floats[np.isfinite(floats) & (np.abs(floats) > 1e-4) & (np.abs(floats) < 10)] *= -1
    weights.write_bytes(values.tobytes())
    record_anew(place, engine["companions"][0])

    after = mask()
    assert not np.array_equal(after, before)
    assert np.array_equal(mask(cache=cache), after)


def test_a_cache_that_cannot_be_written_costs_time_alone(
    demo_bundle: Path, library: NativeLibrary, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    image = np.zeros((64, 64, 3), np.uint8)

    with (
        library.open(demo_bundle) as without,
        library.open(demo_bundle, cache=tmp_path / "file" / "cache") as segmenter,
    ):
        assert np.array_equal(segmenter.segment(image), without.segment(image))


def test_openvino_without_its_plugin_for_the_cpu_is_a_missing_component(
    demo_bundle: Path, native_build: NativeBuild, tmp_path: Path
) -> None:
    libraries = tmp_path / "libs"
    libraries.mkdir()
    for file in (openvino_directory() / "libs").iterdir():
        if "plugin" not in file.name:
            (libraries / file.name).symlink_to(file)
    here = replace(native_build, environment={"LD_LIBRARY_PATH": str(libraries)})

    done = here.run("segment_image", demo_bundle, IMAGE, tmp_path / "mask.png")

    assert done.returncode == 3
    assert done.stderr.startswith("error: openvino engines: OpenVINO 20")
    assert done.stderr.endswith(" finds no usable CPU plugin beside libopenvino; install the whole runtime\n")


def test_one_engines_files_and_its_canary_are_a_bundle_for_a_device(
    demo_copy: Path, library: NativeLibrary, tmp_path: Path
) -> None:
    engine = json.loads((demo_copy / "manifest.json").read_text())["engines"]["openvino-fp32"]
    lean = tmp_path / "lean.segdino"
    for name in ("manifest.json", "canary.npz", engine["file"], *engine["companions"]):
        (lean / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(demo_copy / name, lean / name)

    library.open(lean, check_only_engine_files=1, check_canary=1).close()
    with pytest.raises(InputError, match=r"model\.onnx is missing"):
        library.open(lean)
    (lean / "canary.npz").unlink()
    library.open(lean, check_only_engine_files=1).close()


def test_what_openvino_says_of_a_model_is_told_not_where_it_says_it(demo_copy: Path, library: NativeLibrary) -> None:
    engine = json.loads((demo_copy / "manifest.json").read_text())["engines"]["openvino-fp32"]
    text = (demo_copy / engine["file"]).read_text().replace('type="MatMul"', 'type="NoSuchOperator"').encode()
    (demo_copy / engine["file"]).write_bytes(text)
    record_anew(demo_copy, engine["file"])

    with pytest.raises(EngineError) as error:
        library.open(demo_copy)

    assert "NoSuchOperator" in str(error.value)
