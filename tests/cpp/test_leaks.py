"""Opening and closing, a thousand times: what is not given back shows in the memory that the process holds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from segdino_deploy import Bundle, build_engine
from segdino_deploy.engines.build import BuildOptions
from segdino_deploy.manifest import Manifest
from tests.cpp.building import NativeBuild

ENGINE = "openvino-fp32"
OPENS = 1000
SETTLED = 200  # from where on nothing may grow: OpenVINO's caches and the allocator's pools are full by then
# The 800 opens behind that were seen to add up to 1 MiB in one step, whatever their number: the allocator's. A batch
# that is forgotten at each of them is 18 KiB here, which would add 14 MiB. What is smaller is LeakSanitizer's to find.
TOLERANCE_KIB = 4096
THRESHOLD_GREY = 128.0


def smallest_model(height: int, width: int) -> bytes:
    """ONNX: an image's brightness above the middle. What opening costs is then the library's and OpenVINO's own."""
    nodes = [
        helper.make_node("Cast", ["image"], ["rgb"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["rgb", "axis"], ["grey"], keepdims=0),
        helper.make_node("Sub", ["grey", "middle"], ["above"]),
        helper.make_node("Greater", ["above", "zero"], ["is_above"]),
        helper.make_node("Cast", ["is_above"], ["mask"], to=TensorProto.UINT8),
        helper.make_node("Unsqueeze", ["above", "one"], ["logits"]),
    ]
    constants = {
        "axis": np.array([3], np.int64),
        "middle": np.float32(THRESHOLD_GREY),
        "zero": np.float32(0),
        "one": np.array([1], np.int64),
    }
    graph = helper.make_graph(
        nodes,
        "smallest",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, height, width, 3])],
        [
            helper.make_tensor_value_info("mask", TensorProto.UINT8, [1, height, width]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1, height, width]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return model.SerializeToString()


@pytest.fixture(scope="module")
def smallest(exported: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose OpenVINO engine does next to nothing, and which has an engine of a backend that is left out."""
    ov = pytest.importorskip("openvino", reason="makes the engine that is opened")
    folder = tmp_path_factory.mktemp("leaks")
    path = folder / "smallest.segdino"
    shutil.copytree(exported("v1_convt"), path)
    build_engine(Bundle.open(path), BuildOptions("fp32", "onnxruntime", lowering=("none",)))
    bundle = Bundle.open(path)
    (folder / "smallest.onnx").write_bytes(smallest_model(*bundle.manifest.model.input_size))
    ov.save_model(ov.Core().read_model(folder / "smallest.onnx"), folder / f"{ENGINE}.xml", compress_to_fp16=False)
    names = [f"engines/{ENGINE}.{suffix}" for suffix in ("xml", "bin")]

    def add(manifest: Manifest) -> Manifest:
        engine = manifest.engines["onnxruntime-fp32"].model_copy(
            update={"file": names[0], "companions": names[1:], "backend": "openvino", "inference_precision": "f32"}
        )
        return manifest.model_copy(update={"engines": {**manifest.engines, ENGINE: engine}})

    bundle.update({name: (folder / Path(name).name).read_bytes() for name in names}, add)
    return path


@pytest.fixture
def changed(smallest: Path, tmp_path: Path) -> Path:
    """The same with an engine file whose sha256 is another one."""
    path = tmp_path / "changed.segdino"
    shutil.copytree(smallest, path)
    file = path / "engines" / f"{ENGINE}.xml"
    file.write_bytes(file.read_bytes() + b"\n")
    return path


@pytest.fixture
def refused(smallest: Path, tmp_path: Path) -> Path:
    """The same with an engine file that its sha256 is right of, and which OpenVINO does not take."""
    path = tmp_path / "refused.segdino"
    shutil.copytree(smallest, path)
    network = (path / "engines" / f"{ENGINE}.xml").read_bytes()
    assert b"ReduceMean" in network
    unknown = network.replace(b'type="ReduceMean"', b'type="Unknown"')
    Bundle.open(path).update({f"engines/{ENGINE}.xml": unknown}, lambda manifest: manifest)
    return path


def growth_kib(build: NativeBuild, *arguments: object, kind: str = "") -> int:
    """Of the resident memory, from when it has settled until the end."""
    done = build.run("segdino_stress", *arguments, OPENS, SETTLED, *([kind] if kind else []))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    if told["last_kib"] is None:
        pytest.skip("this system does not tell how much memory a process holds")
    return int(told["last_kib"]) - int(told["settled_kib"])


def test_a_thousand_opens_and_closes_do_not_grow(native_build: NativeBuild, smallest: Path) -> None:
    assert growth_kib(native_build, smallest, ENGINE) < TOLERANCE_KIB


def test_a_thousand_changed_files_do_not_grow(native_build: NativeBuild, changed: Path) -> None:
    assert growth_kib(native_build, changed, ENGINE, kind="InputError") < TOLERANCE_KIB


def test_a_thousand_missing_backends_do_not_grow(native_build: NativeBuild, smallest: Path) -> None:
    assert growth_kib(native_build, smallest, "onnxruntime-fp32", kind="MissingComponent") < TOLERANCE_KIB


def test_a_thousand_files_that_the_backend_refuses_do_not_grow(native_build: NativeBuild, refused: Path) -> None:
    assert growth_kib(native_build, refused, ENGINE, kind="EngineError") < TOLERANCE_KIB


@pytest.mark.parametrize(
    ("bundle", "engine", "kind"),
    [
        ("smallest", ENGINE, ""),
        ("changed", ENGINE, "InputError"),
        ("refused", ENGINE, "EngineError"),
        ("smallest", "onnxruntime-fp32", "MissingComponent"),
        ("smallest", "no-such-engine", "InputError"),
    ],
)
def test_no_byte_is_forgotten_from_open_to_close(
    bundle: str, engine: str, kind: str, sanitized_build: NativeBuild, request: pytest.FixtureRequest
) -> None:
    done = sanitized_build.run(
        "segdino_stress", request.getfixturevalue(bundle), engine, 3, 1, *([kind] if kind else [])
    )

    if "LeakSanitizer has encountered a fatal error" in done.stderr:
        pytest.skip("LeakSanitizer may not look into processes here")
    assert done.returncode == 0, done.stderr
    assert "Sanitizer" not in done.stderr
