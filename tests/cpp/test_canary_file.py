"""canary.npz in C++: one that is damaged, changed or another model's is not believed."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segdino_deploy import Bundle
from segdino_deploy.evidence import mask_from_logits
from tests.cpp.bundle_probes import BundleProbes, Refused
from tests.cpp.canary_cases import Answers, add_engines


def replaced(bundle: Bundle, content: bytes) -> Bundle:
    bundle.update({"canary.npz": content}, lambda manifest: manifest)
    return bundle


def arrays_of(bundle: Bundle) -> Answers:
    with np.load(bundle.file("canary.npz")) as arrays:
        return dict(arrays)


def packed(arrays: Answers) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


@pytest.fixture
def private(exported: Callable[[str], Path], tmp_path: Path) -> Bundle:
    """Free to be changed."""
    shutil.copytree(exported("v1_convt"), tmp_path / "b.segdino")
    add_engines(Bundle.open(tmp_path / "b.segdino"))
    return Bundle.open(tmp_path / "b.segdino")


CHANGES: dict[str, Callable[[Answers], Answers]] = {
    "no image": lambda arrays: {name: array for name, array in arrays.items() if name != "image"},
    "no logits": lambda arrays: {name: array for name, array in arrays.items() if name != "logits"},
    "another size": lambda arrays: arrays | {"image": arrays["image"][:, :16]},
    "another batch": lambda arrays: {name: np.repeat(array, 2, axis=0) for name, array in arrays.items()},
    "other classes": lambda arrays: arrays | {"logits": np.repeat(arrays["logits"], 2, axis=1)},
    "float image": lambda arrays: arrays | {"image": arrays["image"].astype(np.float32)},
    "float64 logits": lambda arrays: arrays | {"logits": arrays["logits"].astype(np.float64)},
    "not finite": lambda arrays: arrays | {"logits": arrays["logits"] * np.float32(np.nan)},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_canary_of_another_model_is_none(change: str, private: Bundle, probes: BundleProbes) -> None:
    arrays = arrays_of(private)
    replaced(private, packed(CHANGES[change](arrays)))

    with pytest.raises(Refused) as refused:
        probes.check_canary(private.path, "onnxruntime-fp32", [arrays["mask"], arrays["logits"]], arrays["image"].size)

    assert str(refused.value) == f"{private.file('canary.npz')}: not a canary; export the checkpoint again"
    assert refused.value.kind == "InputError"
    assert refused.value.got


def test_what_is_no_archive_is_no_canary(private: Bundle, probes: BundleProbes) -> None:
    replaced(private, b"not an archive")

    with pytest.raises(Refused, match="not a canary; export the checkpoint again") as refused:
        probes.check_canary(private.path, "onnxruntime-fp32", [], 0)

    assert "it is no archive" in refused.value.got


def test_a_changed_canary_is_not_believed(private: Bundle, probes: BundleProbes) -> None:
    """Even where the caller compared the engine's files alone."""
    arrays = arrays_of(private)
    private.file("canary.npz").write_bytes(packed({**arrays, "logits": arrays["logits"] + np.float32(1)}))

    with pytest.raises(Refused, match=r"canary\.npz was changed since it was written") as refused:
        probes.check_canary(private.path, "onnxruntime-fp32", [], 0)

    assert refused.value.kind == "InputError"


def test_a_canary_that_nobody_hashed_is_not_believed(private: Bundle, probes: BundleProbes) -> None:
    private.update(
        {}, lambda m: m.model_copy(update={"files": {k: v for k, v in m.files.items() if k != "canary.npz"}})
    )

    with pytest.raises(Refused, match=r"canary\.npz has no sha256 in the manifest"):
        probes.check_canary(private.path, "onnxruntime-fp32", [], 0)


def test_engines_of_another_onnx_file_have_its_own_canary(private: Bundle, probes: BundleProbes) -> None:
    """As int8 engines, whose model is compared with itself."""
    arrays = arrays_of(private)
    other = {**arrays, "logits": -arrays["logits"]}
    model = private.manifest.onnx["fp32"].model_copy(
        update={"file": "model.int8.onnx", "precision": "int8", "canary": "canary.int8.npz"}
    )
    engine = private.manifest.engines["onnxruntime-int8"].model_copy(update={"source": "model.int8.onnx"})
    private.update(
        {"canary.int8.npz": packed(other), "model.int8.onnx": b""},
        lambda m: m.model_copy(
            update={"onnx": {**m.onnx, "int8": model}, "engines": {**m.engines, "onnxruntime-int8": engine}}
        ),
    )
    answers = [mask_from_logits(np.asarray(other["logits"], np.float32), 0.5), other["logits"]]

    probes.check_canary(private.path, "onnxruntime-int8", answers, arrays["image"].size)
    with pytest.raises(Refused, match="the canary fails on onnxruntime-fp32"):
        probes.check_canary(private.path, "onnxruntime-fp32", answers, arrays["image"].size)
