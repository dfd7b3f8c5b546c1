"""ONNX Runtime engines in the C++ library give what Python's runner gives, bit for bit.

SEGDINO_ONNXRUNTIME_INCLUDE: folder with onnxruntime_c_api.h, of 1.12 or later. The library is the one that the Python
package carries, which has no headers.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from segdino_deploy import Bundle, build_engine, export_model, open_engine
from segdino_deploy.atomic import sha256_of
from segdino_deploy.engines.build import BuildOptions
from segdino_deploy.engines.run.contract import run_padded
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.manifest import BatchRange
from tests.conftest import Golden, read_golden
from tests.cpp.building import BUILDS, build
from tests.cpp.capi import EngineError, InputError, NativeLibrary

INCLUDE = os.environ.get("SEGDINO_ONNXRUNTIME_INCLUDE", "")
pytestmark = pytest.mark.skipif(
    not INCLUDE, reason="SEGDINO_ONNXRUNTIME_INCLUDE names no folder with onnxruntime_c_api.h"
)

Images = NDArray[np.uint8]


@pytest.fixture(scope="module")
def library() -> NativeLibrary:
    """Built with ONNX Runtime alone."""
    found = find_spec("onnxruntime")
    assert found is not None
    assert found.origin is not None
    shared = sorted((Path(found.origin).parent / "capi").glob("libonnxruntime.so.*"))
    if not shared:
        pytest.skip("the Python package onnxruntime carries no libonnxruntime.so here")
    folder = BUILDS / "onnxruntime-library"  # where the loader finds it by its name
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(shared[0])
    options = [
        "-DCMAKE_BUILD_TYPE=Release",
        "-DSEGDINO_WITH_OPENVINO=OFF",
        "-DSEGDINO_WITH_ONNXRUNTIME=ON",
        f"-DOnnxRuntime_INCLUDE_DIR={INCLUDE}",
        f"-DOnnxRuntime_LIBRARY={folder / 'libonnxruntime.so'}",
        "-DSEGDINO_BUILD_EXAMPLES=OFF",
    ]
    return NativeLibrary(build("onnxruntime", options) / "libsegdino.so")


def export(golden: Golden, path: Path, batch: BatchRange) -> Bundle:
    options = ExportOptions(input_size=golden.input_hw, outputs=("mask", "logits", "probability"), batch=batch)
    export_model(golden.checkpoint, path, options)
    return Bundle.open(path)


@pytest.fixture(scope="module")
def dynamic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two to four images at once."""
    path = tmp_path_factory.mktemp("dynamic") / "dynamic.segdino"
    bundle = export(read_golden("v1_convt"), path, BatchRange(min=2, opt=3, max=4))
    build_engine(bundle, BuildOptions("fp32", "onnxruntime"))
    return path


def images_for(bundle: Path, count: int, seed: int = 0) -> Images:
    """Noise of the model's size, uint8 `[count, H, W, 3]`."""
    size = Bundle.open(bundle).manifest.model.input_size
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def assert_same(library: NativeLibrary, bundle: Path, images: Images, threads: int = 0) -> None:
    """Of all heads, masks and what else the model gives, of the model's size."""
    kinds = Bundle.open(bundle).manifest.model.heads[0].outputs
    with open_engine(bundle, backend="onnxruntime", threads=threads or None) as runner:
        expected = run_padded(runner, images)
    wanted = {kind: kind in kinds for kind in ("logits", "probability")}
    with library.open(bundle, backend="onnxruntime", threads=threads) as segmenter:
        assert (segmenter.info.backend, segmenter.info.device) == ("onnxruntime", "CPU")
        results = segmenter.analyse(list(images), of_model_size=True, **wanted)
    for number, result in enumerate(results):
        for head, answer in result.items():
            for kind, array in answer.items():
                name = f"{head}.{kind}" if head else kind
                np.testing.assert_array_equal(array, expected[name][number], err_msg=name)
    logits = next(array for name, array in expected.items() if name.endswith("logits"))
    assert len(np.unique(logits)) > 100, "an answer that is everywhere the same would show nothing"


@pytest.mark.parametrize("name", ["v1_convt", "fine_grained", "v2_3class_sat"])
def test_a_fixed_model_gives_pythons_bits(name: str, library: NativeLibrary, tmp_path: Path) -> None:
    golden = read_golden(name)
    bundle = export(golden, tmp_path / "fixed.segdino", BatchRange())
    build_engine(bundle, BuildOptions("fp32", "onnxruntime"))

    assert_same(library, bundle.path, golden.image)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("threads", [0, 1])
def test_any_number_of_images_is_run_in_batches_that_the_model_takes(
    count: int, threads: int, dynamic: Path, library: NativeLibrary
) -> None:
    assert_same(library, dynamic, images_for(dynamic, count), threads)


def test_every_head_of_a_joint_model_gives_pythons_bits(joint_copy: Bundle, library: NativeLibrary) -> None:
    build_engine(joint_copy, BuildOptions("fp32", "onnxruntime"))

    assert_same(library, joint_copy.path, images_for(joint_copy.path, 3))


def test_an_int8_engine_gives_pythons_bits(
    bundle_copy: Callable[[str], Bundle], calibration_images: Path, library: NativeLibrary
) -> None:
    bundle = bundle_copy("v1_convt")
    build_engine(bundle, BuildOptions("int8", "onnxruntime", calibration_images))

    assert_same(library, bundle.path, images_for(bundle.path, 2))


def test_threads_that_share_an_engine_get_their_own_answers(dynamic: Path, library: NativeLibrary) -> None:
    images = images_for(dynamic, 12)
    with open_engine(dynamic, backend="onnxruntime") as runner:
        expected = run_padded(runner, images)["logits"]
    first = library.open(dynamic)
    segmenters = [first, first.share(), first.share()]
    first.close()
    segmenters[0] = segmenters[1].share()  # the engine lives while anybody uses it

    def work(number: int) -> None:
        for start in range(0, len(images), 1 + number):
            batch = images[start : start + 1 + number]
            results = segmenters[number].analyse(list(batch), of_model_size=True, logits=True)
            for offset, result in enumerate(results):
                np.testing.assert_array_equal(result[""]["logits"], expected[start + offset])

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(work, range(3)))
    for segmenter in segmenters:
        segmenter.close()


def put_engine(bundle: Path, content: bytes) -> Path:
    """Another file in the engine's place, with its sha256 in the manifest."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    name: str = manifest["engines"]["onnxruntime-fp32"]["file"]
    (bundle / name).write_bytes(content)
    manifest["files"][name] = {"sha256": sha256_of(bundle / name), "size_bytes": len(content)}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return bundle / name


def test_what_is_no_model_is_refused_in_one_line_and_nothing_is_printed(
    dynamic: Path, library: NativeLibrary, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(dynamic, tmp_path / "copy.segdino"))
    path = put_engine(copy, b"no model at all")

    with pytest.raises(
        EngineError, match=rf"^{re.escape(str(path))}: ONNX Runtime 1\.[\d.]+ cannot open it: "
    ) as caught:
        library.open(copy)

    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_model_of_another_export_is_told_by_its_tensors(
    dynamic: Path, library: NativeLibrary, tmp_path: Path, bundle_copy: Callable[[str], Bundle]
) -> None:
    other = bundle_copy("v1_convt")
    build_engine(other, BuildOptions("fp32", "onnxruntime"))
    copy = Path(shutil.copytree(dynamic, tmp_path / "copy.segdino"))
    put_engine(copy, other.file("engines/onnxruntime-fp32.onnx").read_bytes())

    with pytest.raises(InputError, match="the engine has the tensors image, mask, logits; the model's card names"):
        library.open(copy)

    put_engine(other.path, (dynamic / "engines/onnxruntime-fp32.onnx").read_bytes())
    with pytest.raises(InputError, match=r"; build it here: segdino-deploy build-engine .* --backend onnxruntime"):
        library.open(other.path)
