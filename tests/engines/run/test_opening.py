"""Opening engines of TensorRT: what is told before the library is asked, and its refusals in one line."""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segdino_deploy.engines.run import RUNNERS
from segdino_deploy.engines.run.tensorrt import TensorRtRunner
from segdino_deploy.engines.tensorrt import loading
from segdino_deploy.engines.tensorrt.flavours import FLAVOURS, Flavour
from segdino_deploy.engines.tensorrt.loading import load_engine, require_runnable
from segdino_deploy.engines.tensorrt.tensors import Found, check_tensors
from segdino_deploy.errors import InputError, MissingComponent, SegdinoDeployError
from segdino_deploy.gpu import Gpu, find_gpu
from segdino_deploy.manifest import Engine
from tests.engines.run.model import make_card
from tests.engines.run.tiny_engine import build, define, tensors_of_network
from tests.engines.tensorrt import helpers, refitting
from tests.typings import stubs

ADA = Gpu("NVIDIA L4", "8.9", "13.0", 1, 24 * 2**30)
HOPPER = Gpu("NVIDIA H200", "9.0", "13.0", 1, 140 * 2**30)
RTX = FLAVOURS["tensorrt-rtx"]
CARD = make_card(1, 4)
without_gpu = pytest.mark.skipif(find_gpu() is not None, reason="says what happens without an NVIDIA GPU")


@pytest.fixture(scope="module")
def rtx() -> Any:
    return pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")


@pytest.fixture(scope="module")
def plan(rtx: Any) -> bytes:  # noqa: ARG001  (skips where it is not installed)
    return build("tensorrt-rtx", CARD)


def engine_record(version: str, gpu: Gpu | None = None, backend: str = "tensorrt-rtx", **options: Any) -> Engine:
    return helpers.engine_record(backend, version, gpu, **options)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A folder that counts as a bundle, with a place for the engine."""
    path = tmp_path / "b.segdino"
    (path / "engines").mkdir(parents=True)
    (path / "manifest.json").write_text("{}")
    return path


@pytest.fixture
def put(bundle: Path) -> Callable[[bytes], Path]:
    def put_file(data: bytes) -> Path:
        path = bundle / "engines" / "tensorrt-rtx-fp16.rtx"
        path.write_bytes(data)
        return path

    return put_file


def assert_one_line(error: BaseException) -> None:
    assert "\n" not in str(error)
    assert len(str(error)) < 800


@pytest.mark.parametrize("backend", list(FLAVOURS))
def test_without_a_gpu_the_library_is_not_even_loaded(
    backend: str, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "find_gpu", lambda: None)
    monkeypatch.setattr("segdino_deploy.engines.tensorrt.flavours.require_module", lambda *_, **__: pytest.fail())

    with pytest.raises(MissingComponent, match=f"^{backend} engines: no usable NVIDIA GPU here; run them on") as caught:
        RUNNERS[backend](CARD, engine_record("10.3.0", backend=backend), bundle / "engines" / "x.plan", None)

    assert_one_line(caught.value)


def test_another_version_and_gpu_are_told_with_the_command_that_cures_them(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, rtx: Any
) -> None:
    monkeypatch.setattr(loading, "find_gpu", lambda: HOPPER)
    engine = engine_record("1.2.0.5", compute_capabilities=("8.9",), optimization_level=5)
    path = bundle / "engines" / "tensorrt-rtx-fp16.rtx"  # which is not even there: TensorRT is not asked

    with pytest.raises(MissingComponent) as caught:
        TensorRtRunner(CARD, engine, path)

    here = ".".join(rtx.__version__.split(".")[:3])
    assert str(caught.value) == (
        f"{path}: built for TensorRT-RTX 1.2.0 on sm_89; this machine has {here} on sm_90 (NVIDIA H200); "
        f"build it here: segdino-deploy build-engine {bundle} --fp16 --backend tensorrt-rtx --optimization-level 5"
    )


def test_an_engine_for_this_machine_passes(bundle: Path, monkeypatch: pytest.MonkeyPatch, rtx: Any) -> None:
    monkeypatch.setattr(loading, "find_gpu", lambda: ADA)

    assert require_runnable(engine_record(rtx.__version__), bundle / "engines" / "x.rtx") == ADA


def test_what_is_no_engine_is_refused(put: Callable[[bytes], Path], rtx: Any) -> None:
    path = put(b"PK\x03\x04" + bytes(5000))

    with pytest.raises(
        InputError, match="it is no engine, or a damaged one; copy the bundle again, or build"
    ) as caught:
        load_engine(CARD, engine_record(rtx.__version__), path)

    assert str(path) in str(caught.value)
    assert_one_line(caught.value)


def test_an_empty_or_missing_file_is_refused(put: Callable[[bytes], Path], rtx: Any) -> None:
    path = put(b"")
    with pytest.raises(InputError, match=r"cannot be read \(cannot mmap an empty file\); copy the bundle again"):
        load_engine(CARD, engine_record(rtx.__version__), path)

    path.unlink()
    with pytest.raises(InputError, match="No such file") as caught:
        load_engine(CARD, engine_record(rtx.__version__), path)
    assert_one_line(caught.value)


@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_a_truncated_engine_is_refused_with_the_librarys_reason(
    kept: float, put: Callable[[bytes], Path], plan: bytes, rtx: Any
) -> None:
    path = put(plan[: int(kept * len(plan))])

    with pytest.raises(
        SegdinoDeployError, match=r"TensorRT-RTX .* cannot open .*Serialization.*build it here"
    ) as caught:
        load_engine(CARD, engine_record(rtx.__version__), path)

    assert str(path) in str(caught.value)
    assert_one_line(caught.value)


@without_gpu
def test_a_driver_that_does_not_answer_the_library_is_told(put: Callable[[bytes], Path], plan: bytes, rtx: Any) -> None:
    path = put(plan)

    with pytest.raises(SegdinoDeployError, match=f"cannot open {re.escape(str(path))}: .*CUDA") as caught:
        load_engine(CARD, engine_record(rtx.__version__), path)

    assert_one_line(caught.value)


def test_an_engine_of_the_other_product_is_told_by_its_first_bytes(
    put: Callable[[bytes], Path], plan: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(plan)
    monkeypatch.setattr(Flavour, "load", lambda _: refitting.API)  # which opens no such file, as TensorRT does not

    with pytest.raises(InputError, match="its first bytes are those of a TensorRT-RTX engine; build it here") as caught:
        load_engine(CARD, engine_record("10.9.0", backend="tensorrt"), path)

    assert_one_line(caught.value)
    with pytest.raises(SegdinoDeployError, match="Serialization assertion failed; copy the bundle again, or build it"):
        load_engine(CARD, engine_record("10.9.0", backend="tensorrt"), put(b"damaged"))


class Answers:
    """A runtime that gives one answer to the question whether an engine is valid here."""

    def __init__(self, validity: Any, bits: int) -> None:
        self.answer = (validity, bits)

    def get_engine_validity(self, _: object) -> tuple[Any, int]:
        return self.answer


def test_tensorrt_rtxs_diagnosis_in_words(rtx: Any) -> None:
    kinds = rtx.EngineInvalidityDiagnostics
    invalid, data = rtx.EngineValidity.INVALID, Any

    def reasons(validity: Any, *bits: Any) -> list[str]:
        return loading._reasons(Answers(validity, sum(map(int, bits))), data, rtx)  # type: ignore[arg-type]

    assert reasons(rtx.EngineValidity.VALID) == []
    assert reasons(rtx.EngineValidity.SUBOPTIMAL, kinds.UNSUPPORTED_CC) == []  # it runs
    assert reasons(invalid, kinds.UNSUPPORTED_CC, kinds.OLD_CUDA_DRIVER) == ["UNSUPPORTED_CC", "OLD_CUDA_DRIVER"]
    assert set(loading.REASONS) == set(kinds.__members__)


def test_the_networks_of_nvidias_parser_are_what_the_card_says(rtx: Any) -> None:  # noqa: ARG001
    for card in (CARD, make_card(2, 2), make_card(1, 1, (32, 48))):
        _builder, network, _config, _ = define("tensorrt-rtx", card)
        check_tensors(tensors_of_network(network), card)


def found(**changes: Found) -> list[Found]:
    """What an engine of `CARD` has, changed."""
    right = {
        "image": Found("image", True, "uint8", (-1, 16, 32, 3)),
        "mask": Found("mask", False, "uint8", (-1, 16, 32)),
        "logits": Found("logits", False, "float32", (-1, 3, -1, -1)),  # some shapes are only known at run time
    }
    return list({**right, **changes}.values())


def test_engines_of_another_export_are_told_by_their_tensors() -> None:
    check_tensors(found(), CARD)
    with pytest.raises(InputError, match=r"mask is uint8 \[-1, 32, 32\]; by the model's card it is uint8 \[-1, 16, 32"):
        check_tensors(found(mask=Found("mask", False, "uint8", (-1, 32, 32))), CARD)
    with pytest.raises(InputError, match=r"logits is float16 .*; by the model's card it is float32 \[-1, 3, 16, 32\]"):
        check_tensors(found(logits=Found("logits", False, "float16", (-1, 3, 16, 32))), CARD)
    with pytest.raises(
        InputError, match="the engine has the tensors image, mask; the model's card names image, mask, lo"
    ):
        check_tensors(found()[:2], CARD)
    fixed = make_card(2, 2)
    with pytest.raises(InputError, match=r"image is uint8 \[4, 16, 32, 3\]; by the model's card it is uint8 \[2, 16"):
        check_tensors(found(image=Found("image", True, "uint8", (4, 16, 32, 3))), fixed)


def test_a_mapped_engine_may_be_replaced_on_disk(put: Callable[[bytes], Path], tmp_path: Path) -> None:
    path = put(b"old" * 1000)
    data = loading._read(path)
    shutil.copy(path, tmp_path / "new")
    (tmp_path / "new").write_bytes(b"new" * 1000)
    (tmp_path / "new").replace(path)

    assert data[:3] == b"old"
    assert np.frombuffer(data, np.uint8).size == 3000


# What `tensorrt_rtx` has and `tensorrt` has not, used behind `Flavour.compiles_on_device` and through `Any`: mypy and
# the test of all names cannot see it.
ONLY_RTX = {
    ("Runtime", "get_engine_validity"),
    ("EngineValidity", "INVALID"),
    ("EngineInvalidityDiagnostics", "__members__"),
    ("IRuntimeConfig", "create_runtime_cache"),
    ("IRuntimeConfig", "set_runtime_cache"),
    ("IRuntimeConfig", "cuda_graph_strategy"),
    ("IRuntimeCache", "serialize"),
    ("IRuntimeCache", "deserialize"),
    ("CudaGraphStrategy", "WHOLE_GRAPH_CAPTURE"),
}


def test_the_names_of_tensorrt_rtx_alone_exist_there_and_only_there(rtx: Any) -> None:
    classes = {node.name: ast.unparse(node) for node in ast.parse(stubs()).body if isinstance(node, ast.ClassDef)}

    assert [pair for pair in sorted(ONLY_RTX) if not hasattr(getattr(rtx, pair[0]), pair[1])] == []
    assert [pair for pair in sorted(ONLY_RTX) if pair[1] in classes.get(pair[0], "")] == []
