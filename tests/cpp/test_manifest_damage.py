"""manifest.json in C++: a damaged value is named by its place, what is expected there, and what was got."""

from __future__ import annotations

import pytest

from tests.cpp.bundle_probes import BundleProbes
from tests.cpp.manifest_cases import DAMAGED, SHA, Content, changed, python_refuses, refusal

# (place, value, what is expected there); `...` removes the key
DAMAGE: list[tuple[str, object, str]] = [
    ("schema_version", "2", "a whole number"),
    ("schema_version", 2.5, "a whole number"),
    ("tool_version", ..., "a value"),
    ("tool_version", 1, "a text"),
    ("model", ..., "a value"),
    ("model", [], "an object"),
    ("model/input_size", ..., "a value"),
    ("model/input_size", 32, "an array"),
    ("model/input_size", [32], "height and width"),
    ("model/input_size", [32, 48, 3], "height and width"),
    ("model/input_size/0", 0, "a whole number from 16 to 65520"),
    ("model/input_size/0", -16, "a whole number from 16 to 65520"),
    ("model/input_size/0", 24, "a multiple of 16"),
    ("model/input_size/1", 65536, "a whole number from 16 to 65520"),
    ("model/input_size/1", 2**63, "a whole number from 16 to 65520"),
    ("model/input_size/1", 2**64 + 32, "a whole number from 16 to 65520"),
    ("model/input_size/1", "48", "a whole number from 16 to 65520"),
    ("model/input_size/1", 48.0, "a whole number from 16 to 65520"),
    ("model/input_size/1", None, "a whole number from 16 to 65520"),
    ("model/batch", ..., "a value"),
    ("model/batch/min", 0, "a whole number from 1 to 2147483647"),
    ("model/batch/min", True, "a whole number from 1 to 2147483647"),
    ("model/batch/max", 0, "a whole number from 1 to 2147483647"),
    ("model/batch/max", 2**31, "a whole number from 1 to 2147483647"),
    ("model/resize_filter", "nearest", "one of bicubic, bilinear"),
    ("model/resize_filter", None, "one of bicubic, bilinear"),
    ("model/heads", [], "heads with different names"),
    ("model/heads", {}, "an array"),
    ("model/heads/0", "v2", "an object"),
    ("model/heads/0/family", ..., "a value"),
    ("model/heads/0/name", None, "a text"),
    ("model/heads/0/num_classes", 0, "a whole number from 1 to 256"),
    ("model/heads/0/num_classes", 257, "a whole number from 1 to 256"),
    ("model/heads/0/num_classes", 3, "3 names"),
    ("model/heads/0/class_names", ["a"], "2 names"),
    ("model/heads/0/class_names", [1, 2], "a text"),
    ("model/heads/0/outputs", [], "at least one output, each once"),
    ("model/heads/0/outputs", ["mask", "mask"], "at least one output, each once"),
    ("model/heads/0/outputs", ["masks"], "one of mask, probability, logits"),
    ("model/heads/0/threshold", 0, "a number between 0 and 1"),
    ("model/heads/0/threshold", 1, "a number between 0 and 1"),
    ("model/heads/0/threshold", "0.5", "a number"),
    ("onnx", [], "an object"),
    ("onnx/fp32/file", ..., "a value"),
    ("onnx/fp32/canary", 1, "a text"),
    ("engines", [], "an object"),
    ("engines/openvino", None, "an object"),
    ("engines/openvino/file", ..., "a value"),
    ("engines/openvino/companions", "engines/openvino.bin", "an array"),
    ("engines/openvino/companions", ["engines/other.bin"], "a sha256 of engines/other.bin among the files"),
    ("engines/openvino/backend", ..., "a value"),
    ("engines/openvino/precision", "fp8", "one of fp32, fp16, bf16, int8"),
    ("engines/openvino/source", ..., "a value"),
    ("engines/openvino/built_with", ..., "a value"),
    ("engines/openvino/built_with", {"openvino": 2026}, "a text"),
    ("engines/openvino/inference_precision", "f8", "one of f32, bf16, f16"),
    ("engines/openvino/lowering", [{"part": "qkv"}], "a value"),
    ("engines/openvino/receipt", [], "an object"),
    ("engines/openvino/receipt", {"options": []}, "an object"),
    ("engines/openvino/receipt", {"options": {"version_compatible": 1}}, "true or false"),
    ("engines/openvino/receipt", {"options": {"hardware_compatible": "all"}}, "one of same, ampere-plus"),
    ("engines/openvino/receipt", {"options": {"compute_capabilities": "8.9"}}, "an array"),
    ("engines/openvino/receipt", {"options": {"workspace_mib": {}}}, "a text, a number, true or an array of texts"),
    ("engines/openvino/receipt", {"options": {"a\nb": 1}}, "a name without control characters"),
    ("engines/open\nvino", {}, "a name without control characters"),
    ("files/model.onnx/sha256", SHA[:-1], "64 hexadecimal digits"),
    ("files/model.onnx/sha256", SHA.upper(), "64 hexadecimal digits"),
    ("files/model.onnx/sha256", 1, "a text"),
    ("files/model.onnx/size_bytes", -1, f"a whole number from 0 to {2**63 - 1}"),
    ("files/model.onnx/size_bytes", 2**63, f"a whole number from 0 to {2**63 - 1}"),
    ("files/model.onnx/size_bytes", 1.5, f"a whole number from 0 to {2**63 - 1}"),
    ("files/engines/openvino", ..., "a sha256 of engines/openvino among the files"),
]


@pytest.mark.parametrize(("place", "value", "expected"), DAMAGE)
def test_a_damaged_value_is_named(
    place: str, value: object, expected: str, content: Content, probes: BundleProbes
) -> None:
    if place == "files/engines/openvino":  # whose own name has a slash
        del content["files"]["engines/openvino"]
    else:
        content = changed(content, place, value)

    refused = refusal(probes, content)

    assert str(refused).startswith(DAMAGED)
    assert f"{expected} is expected, got {refused.got})" in str(refused)
    assert refused.expected == expected
    assert refused.got


def test_the_place_and_both_values_are_told(content: Content, probes: BundleProbes) -> None:
    refused = refusal(probes, changed(content, "model/batch", {"min": 5, "max": 4}))

    assert str(refused) == f"{DAMAGED}model.batch.max: a whole number from 5 to 2147483647 is expected, got 4)"
    assert (refused.expected, refused.got) == ("a whole number from 5 to 2147483647", "4")


def test_sizes_that_no_address_holds_are_refused(content: Content, probes: BundleProbes) -> None:
    largest = changed(changed(content, "model/input_size", [65520, 65520]), "model/batch/max", 2**31 - 1)
    many = changed(largest, "model/heads/0/num_classes", 256)
    names = [str(i) for i in range(256)]

    assert "a batch that fits into memory" in str(refusal(probes, changed(many, "model/heads/0/class_names", names)))


@pytest.mark.parametrize("names", [["a", "a"], ["", "a"], ["a", ""]])
def test_several_heads_need_different_names(names: list[str], content: Content, probes: BundleProbes) -> None:
    head = content["model"]["heads"][0]
    several = changed(content, "model/heads", [{**head, "name": name} for name in names])

    assert python_refuses(several)
    assert "model.heads: heads with different names is expected" in str(refusal(probes, several))
