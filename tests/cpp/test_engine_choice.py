"""Which of a bundle's engines the C++ library tries, in which order, and what it says where there is none."""

from __future__ import annotations

import itertools

import pytest

from segdino_deploy import Bundle
from segdino_deploy.bundle import MANIFEST
from segdino_deploy.engines.run import RUNNERS, _candidates, open_engine
from segdino_deploy.manifest import PRECISIONS
from tests.cpp.bundle_cases import Copy, record, refusal, with_engines
from tests.cpp.bundle_probes import BundleProbes, Refused, python_error


def all_engines(bundle: Bundle) -> Bundle:
    names = [(backend, precision) for precision in PRECISIONS for backend in reversed(RUNNERS)]
    return with_engines(bundle, {f"{b}-{p}": record(f"engines/{b}-{p}.bin", b, p) for b, p in names})


@pytest.mark.parametrize("stock", ["all", "two", "none"])
def test_engines_are_tried_in_pythons_order(stock: str, bundle_copy: Copy, probes: BundleProbes) -> None:
    bundle = bundle_copy()
    if stock == "all":
        all_engines(bundle)
    if stock == "two":
        two = {"b": record("engines/b.xml", "openvino", "fp32"), "a": record("engines/a.onnx", "onnxruntime", "int8")}
        with_engines(bundle, two)
    manifest = (bundle.path / MANIFEST).read_bytes()
    by_file = {engine.file: name for name, engine in bundle.manifest.engines.items()}
    for backend, precision in itertools.product(("", *RUNNERS), ("", *PRECISIONS)):
        chosen: list[str] = []

        def choose(precision: str = precision, backend: str = backend, chosen: list[str] = chosen) -> None:
            _, engines = _candidates(bundle.path, precision or None, backend or None)
            chosen.extend(by_file[engine.file] for engine in engines)

        message = python_error(choose)
        if message:
            with pytest.raises(Refused) as refused:
                probes.choose_engines(bundle.path, manifest, backend=backend, precision=precision)
            assert str(refused.value) == message
        else:
            assert probes.choose_engines(bundle.path, manifest, backend=backend, precision=precision) == chosen


def test_names_that_nobody_knows_are_refused_in_pythons_words(crowded: Bundle, probes: BundleProbes) -> None:
    manifest = (crowded.path / MANIFEST).read_bytes()
    for option, name in (("precision", "fp8"), ("backend", "torch"), ("backend", "OpenVINO")):
        refused = refusal(lambda asked={option: name}: probes.choose_engines(crowded.path, manifest, **asked))  # type: ignore[misc]

        said = python_error(lambda asked={option: name}: open_engine(crowded.path, **asked))  # type: ignore[misc]
        assert said == f"--{refused}"  # which is an option of the command line there


def test_an_engine_asked_for_by_name_is_never_replaced(crowded: Bundle, probes: BundleProbes) -> None:
    manifest = (crowded.path / MANIFEST).read_bytes()
    assert probes.choose_engines(crowded.path, manifest, "openvino-int8") == ["openvino-int8"]
    assert probes.choose_engines(crowded.path, manifest, "openvino-int8", "openvino", "int8") == ["openvino-int8"]

    absent = refusal(lambda: probes.choose_engines(crowded.path, manifest, "openvino-fp32"))
    other = refusal(lambda: probes.choose_engines(crowded.path, manifest, "openvino-int8", precision="fp16"))

    has = "tensorrt-fp16, openvino-int8"
    assert str(absent) == f"{crowded.path}: no engine named openvino-fp32 (has: {has})"
    assert (absent.expected, absent.got) == ("openvino-fp32", has)
    assert str(other) == (f"{crowded.path}: openvino-int8 holds openvino int8, while fp16 was asked for; name one only")


def test_a_backend_of_a_later_version_comes_last(bundle_copy: Copy, probes: BundleProbes) -> None:
    engines = {"new": record("engines/new.bin", "npu", "fp16"), "old": record("engines/old.xml", "openvino", "fp16")}
    bundle = with_engines(bundle_copy(), engines)

    assert probes.choose_engines(bundle.path, (bundle.path / MANIFEST).read_bytes()) == ["old", "new"]
