"""manifest.json in C++ from strangers: paths out of the bundle, no JSON, endless nesting, other schemas."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from segdino_deploy import Bundle
from tests.cpp.bundle_probes import BundleProbes, Refused, as_the_library_says, python_error
from tests.cpp.manifest_cases import DAMAGED, Content, changed, python_refuses, refusal

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


def test_thousands_of_keys_in_one_object_are_refused(probes: BundleProbes, content: Content) -> None:
    """They are looked up one behind the other: tens of thousands would take seconds."""
    refused = refusal(probes, content | {f"junk{number}": 0 for number in range(3000)})

    assert "at most 2000 keys in one object" in str(refused)


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
