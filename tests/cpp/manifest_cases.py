"""A manifest as small as Python takes it, changed copies of it, and how the C++ library refuses them."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from pydantic import ValidationError

from segdino_deploy.manifest import Manifest
from tests.cpp.bundle_probes import BundleProbes, Refused

Content = dict[str, Any]
DAMAGED = "some.segdino/manifest.json: damaged, not a manifest of this version; copy the bundle again, or remove it ("
SHA = "0123456789abcdef" * 4


def smallest_manifest() -> Content:
    """A manifest of one head and three engines, as small as Python takes it."""
    head = {
        "family": "v2",
        "num_classes": 2,
        "class_names": ["background", "polyp"],
        "outputs": ["mask", "logits"],
        "threshold": 0.5,
        "taps": [2, 5, 8, 11],
        "resize_filter": "bilinear",
        "checkpoint": {"name": "a.pth", "sha256": SHA},
    }
    backbone = dict.fromkeys(("embed_dim", "depth", "num_heads", "ffn_hidden_dim", "num_registers"), 1)
    model = {
        "heads": [head],
        "input_size": [32, 48],
        "batch": {"min": 1, "opt": 2, "max": 4},
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "resize_filter": "bilinear",
        "backbone": {**backbone, "ffn": "mlp"},
    }
    onnx = {"file": "model.onnx", "precision": "fp32", "weight_products": {}, "nodes": 1, "casts": 0}
    engines = {
        name: {
            "file": f"engines/{name}",
            "backend": name,
            "precision": "fp32",
            "source": "model.onnx",
            "built_with": {},
        }
        for name in ("tensorrt", "openvino", "onnxruntime")
    }
    engines["openvino"]["companions"] = ["engines/openvino.bin"]
    files = ["canary.npz", "model.onnx", "engines/openvino.bin", *(engine["file"] for engine in engines.values())]
    return {
        "schema_version": 2,
        "tool_version": "0.1.0",
        "model": model,
        "onnx": {"fp32": onnx},
        "engines": engines,
        "files": {name: {"sha256": SHA, "size_bytes": 10} for name in files},
    }


def changed(content: Content, place: str, value: object) -> Content:
    """A copy with another value at a place such as `model.batch.max`; without the key where it is `...`."""
    result = copy.deepcopy(content)
    *path, last = [int(key) if key.isdigit() else key for key in place.split("/")]
    target: Any = result
    for key in path:
        target = target[key]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return result


def refusal(probes: BundleProbes, content: bytes | Content) -> Refused:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(Refused) as caught:
        probes.parse_manifest(text)
    assert caught.value.kind == "InputError"
    assert "\n" not in str(caught.value)
    return caught.value


def python_refuses(content: Content) -> bool:
    try:
        Manifest.model_validate(content)
    except ValidationError:
        return True
    return False
