"""manifest.json as the C++ library reads it: what Python wrote, and what nobody should have written."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from segdino_deploy import Bundle, build_engine, export_model
from segdino_deploy.engines.build import BuildOptions
from segdino_deploy.export.options import ExportOptions
from segdino_deploy.manifest import BatchRange, Engine, Manifest
from tests.conftest import GOLDEN
from tests.cpp.building import NativeBuild
from tests.cpp.bundle_probes import BundleProbes, Refused, as_the_library_says, python_error

Content = dict[str, Any]
DAMAGED = "some.segdino/manifest.json: damaged, not a manifest of this version; copy the bundle again, or remove it ("
SHA = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def probes(native_build: NativeBuild) -> BundleProbes:
    return BundleProbes(native_build.probes)


@pytest.fixture(scope="module")
def logits_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """v2 with three classes, batch 2 to 3, without a mask, with an engine."""
    path = tmp_path_factory.mktemp("logits") / "logits.segdino"
    options = ExportOptions(input_size=(32, 48), batch=BatchRange(min=2, opt=2, max=3), outputs=("logits",))
    bundle = export_model(GOLDEN / "v2_3class_sat.pth", path, options)
    build_engine(bundle, BuildOptions("fp32", "onnxruntime"))
    return path


@pytest.fixture
def content() -> Content:
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


def as_python_reads(manifest: Manifest) -> Content:
    """The parts that the C++ library keeps."""
    card = manifest.model
    heads = [
        {key: getattr(head, key) for key in ("name", "family", "num_classes", "class_names", "outputs", "threshold")}
        for head in card.heads
    ]
    return {
        "tool_version": manifest.tool_version,
        "input_size": list(card.input_size),
        "batch": [card.batch.min, card.batch.max],
        "resize_filter": card.resize_filter,
        "heads": heads,
        "tensors": card.output_names,
        "canaries": {model.file: model.canary for model in manifest.onnx.values()},
        "engines": [_engine(name, engine) for name, engine in manifest.engines.items()],
        "files": [[name, file.sha256, file.size_bytes] for name, file in manifest.files.items()],
    }


def _engine(name: str, engine: Engine) -> Content:
    keys = ("file", "companions", "backend", "precision", "source", "built_with")
    chosen = [record.chosen for record in engine.lowering if record.chosen != "as exported"]
    return {
        "name": name,
        **{key: getattr(engine, key) for key in keys},
        "inference_precision": engine.inference_precision or "",
        "lowerings": chosen,
    }


def as_cpp_reads(found: Content) -> Content:
    model = found["model"]
    kept = ("name", "file", "companions", "backend", "precision", "source", "built_with")
    return {
        "tool_version": found["tool_version"],
        **{key: model[key] for key in ("input_size", "batch", "resize_filter", "heads")},
        "tensors": [tensor["name"] for tensor in model["tensors"]],
        "canaries": found["canaries"],
        "engines": [
            {key: engine[key] for key in (*kept, "inference_precision", "lowerings")} for engine in found["engines"]
        ],
        "files": found["files"],
    }


def test_what_python_wrote_is_read_as_python_reads_it(
    exported: Callable[[str], Path], joint: Path, logits_only: Path, probes: BundleProbes
) -> None:
    for path in (exported("v1_convt"), joint, logits_only):
        found = probes.read_bundle(path)

        assert as_cpp_reads(found) == as_python_reads(Bundle.open(path).manifest)


def test_tensors_have_the_models_shapes_in_its_order(joint: Path, logits_only: Path, probes: BundleProbes) -> None:
    tensors = probes.read_bundle(joint)["model"]["tensors"]

    assert [tuple(tensor.values()) for tensor in tensors] == [
        ("polyp.mask", 0, False, 1, 64 * 96),
        ("polyp.logits", 0, True, 1, 64 * 96 * 4),
        ("tissue.mask", 1, False, 1, 64 * 96),
        ("tissue.logits", 1, True, 3, 64 * 96 * 3 * 4),
    ]
    (logits,) = probes.read_bundle(logits_only)["model"]["tensors"]
    assert tuple(logits.values()) == ("logits", 0, True, 3, 32 * 48 * 3 * 4)


def test_engines_and_files_keep_the_manifests_order(content: Content, probes: BundleProbes) -> None:
    found = probes.parse_manifest(json.dumps(content).encode())

    assert [engine["name"] for engine in found["engines"]] == ["tensorrt", "openvino", "onnxruntime"]
    assert [name for name, *_ in found["files"]] == list(content["files"])


def test_unknown_keys_are_for_later_versions(content: Content, probes: BundleProbes) -> None:
    before = probes.parse_manifest(json.dumps(content).encode())
    for place in (
        "",
        "model/",
        "model/batch/",
        "model/heads/0/",
        "onnx/fp32/",
        "engines/openvino/",
        "files/model.onnx/",
    ):
        content = changed(content, f"{place}of_a_later_version", {"deep": [1, None]})

    assert probes.parse_manifest(json.dumps(content).encode()) == before


@pytest.mark.parametrize(
    "place",
    ["schema_version", "onnx", "engines", "model/batch/min", "model/batch/max"],
)
def test_what_python_leaves_out_has_its_default(place: str, content: Content, probes: BundleProbes) -> None:
    without = changed(content, place, ...)

    assert as_cpp_reads(probes.parse_manifest(json.dumps(without).encode())) == as_python_reads(
        Manifest.model_validate(without)
    )


def test_options_of_a_receipt_are_words_of_the_command_line(content: Content, probes: BundleProbes) -> None:
    options = {
        "workspace_mib": 512,
        "version_compatible": True,
        "strip_weights": True,
        "hardware_compatible": "ampere-plus",
        "compute_capabilities": ["8.6", "8.9"],
        "refittable": False,
        "dla_core": None,
    }
    receipt = {"layers": {"any": ["thing"]}, "options": options}

    found = probes.parse_manifest(json.dumps(changed(content, "engines/tensorrt/receipt", receipt)).encode())

    engine = found["engines"][0]
    assert engine["options"] == [
        ["--workspace", "512"],
        ["--version-compatible", ""],
        ["--strip-weights", ""],
        ["--hardware-compatible", "ampere-plus"],
        ["--compute-capabilities", "8.6,8.9"],
    ]
    assert engine["version_compatible"] is True
    assert engine["strip_weights"] is True
    assert engine["hardware_compatible"] == "ampere-plus"
    assert engine["compute_capabilities"] == ["8.6", "8.9"]


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


OUTSIDE = ["../secret", "/etc/passwd", "a/../../b", "..", "engines/..", "", "a\\..\\b", "C:evil", "a\0b", "a\nb"]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("place", ["engine", "companion", "source", "model", "canary", "file"])
def test_a_bundle_from_elsewhere_reaches_nothing_outside(
    name: str, place: str, content: Content, probes: BundleProbes
) -> None:
    wrong = {
        "engine": lambda: changed(content, "engines/openvino/file", name),
        "companion": lambda: changed(content, "engines/openvino/companions", [name]),
        "source": lambda: changed(content, "engines/openvino/source", name),
        "model": lambda: changed(content, "onnx/fp32/file", name),
        "canary": lambda: changed(content, "onnx/fp32/canary", name),
        "file": lambda: {**content, "files": {name: content["files"]["model.onnx"]}},
    }

    refused = refusal(probes, wrong[place]())

    assert str(refused).startswith(DAMAGED)
    assert refused.expected in ("a file inside the bundle", "a name without control characters")


@pytest.mark.parametrize("name", ["a..b", "...", "a/.hidden", "größe.png", "a b", "x/y/z.toml"])
def test_unusual_names_are_still_names(name: str, content: Content, probes: BundleProbes) -> None:
    content["files"][name] = content["files"]["model.onnx"]

    assert name in [file for file, *_ in probes.parse_manifest(json.dumps(content).encode())["files"]]


NOT_JSON = [b"", b"{", b"not json", b"\xff\xfe", b'{"a": "\xff"}', b"{} {}", b'{"a": NaN}', b'{"a": 1e999}', b"\0"]


@pytest.mark.parametrize("text", NOT_JSON)
def test_what_is_not_json_is_damaged(text: bytes, probes: BundleProbes) -> None:
    assert str(refusal(probes, text)).startswith(f"{DAMAGED}JSON is expected")


@pytest.mark.parametrize("text", [b"[]", b"null", b"1", b'"text"', b"{}", b'{"schema_version": 1}'])
def test_another_programs_json_is_damaged_and_never_outdated(text: bytes, probes: BundleProbes) -> None:
    assert str(refusal(probes, text)).startswith(DAMAGED)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
@pytest.mark.parametrize("depth", [100, 1_000_000])
def test_nesting_takes_no_stack(opening: bytes, depth: int, probes: BundleProbes) -> None:
    assert refusal(probes, opening * depth).expected == "at most 32 levels of nesting"


def test_more_values_than_any_manifest_has_are_refused(content: Content, probes: BundleProbes) -> None:
    refused = refusal(probes, {**content, "later": [0] * 50_000})

    assert refused.expected == "at most 50000 keys and values"


def test_keys_that_come_twice_count_once_as_in_python(content: Content, probes: BundleProbes) -> None:
    text = json.dumps(content).encode()
    twice = text.replace(b'"tool_version": "0.1.0"', b'"tool_version": 1, "tool_version": "0.1.0"')

    assert twice != text
    assert probes.parse_manifest(twice) == probes.parse_manifest(text)


@pytest.mark.parametrize("version", [3, 99, 2**31, 2**63, 1, 0, -1])
def test_other_schemas_are_refused_in_pythons_words(
    version: int, content: Content, probes: BundleProbes, tmp_path: Path
) -> None:
    other = {**content, "schema_version": version}
    (tmp_path / "manifest.json").write_text(json.dumps(other))

    with pytest.raises(Refused) as refused:
        probes.read_bundle(tmp_path)

    assert str(refused.value) == as_the_library_says(python_error(lambda: Bundle.open(tmp_path)))
    assert ("build and install this library again" in str(refused.value)) == (version > 2)
    assert (refused.value.expected, refused.value.got) == ("2", str(version))


@pytest.mark.parametrize("name", ["/../../outside", "a/b", ".hidden", "-x", "a b", "1"])
def test_a_head_whose_name_could_be_a_path_is_refused_in_both_languages(
    name: str, probes: BundleProbes, content: Content
) -> None:
    hostile = changed(content, "model/heads/0/name", name)

    assert python_refuses(hostile)
    assert "a letter, then letters, digits, _ or - is expected" in str(refusal(probes, hostile))


def test_openvinos_weights_must_have_a_hash_whether_they_are_named_or_not(
    probes: BundleProbes, content: Content
) -> None:
    unknown = copy.deepcopy(content)
    del unknown["files"]["engines/openvino.bin"]
    unnamed = changed(unknown, "engines/openvino/companions", ...)

    for hostile in (unknown, unnamed):
        assert "a sha256 of engines/openvino.bin" in str(refusal(probes, hostile))


def test_thousands_of_keys_in_one_object_are_refused(probes: BundleProbes, content: Content) -> None:
    """They are looked up one behind the other: tens of thousands would take seconds."""
    refused = refusal(probes, content | {f"junk{number}": 0 for number in range(3000)})

    assert "at most 2000 keys in one object" in str(refused)
