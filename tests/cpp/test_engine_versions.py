"""C++ says of every record what Python says: whether an engine runs on this version and GPU, and why not."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

import pytest

from segdino_deploy.engines.tensorrt.flavours import FLAVOURS
from segdino_deploy.engines.tensorrt.versions import why_it_cannot_run
from segdino_deploy.gpu import Gpu
from segdino_deploy.manifest import Engine, FileRecord, Manifest
from tests.cpp.building import NativeBuild
from tests.engines.run.model import make_card

GPUS = [
    Gpu("Tesla T4", "7.5", "13.0", 1, 0),
    Gpu("NVIDIA A100", "8.0", "13.0", 1, 0),
    Gpu("Orin", "8.7", "12.6", 1, 0),
    Gpu("NVIDIA GeForce RTX 4090", "8.9", "13.0", 2, 0),
    Gpu("NVIDIA GeForce RTX 5090", "12.0", "13.0", 1, 0),
]
BUILT_WITH = ["10.3.0", "10.3.0.26", "10.9.0.34", "10.10.0.31", "11.4.0.106", "1.7.1.116", "10.13.0rc1", "010.3.0", ""]
HERE = ["10.3.0", "10.3.0.30", "10.10.0.31", "11.4.0.106", "1.7.1.116", "9", "99999999999999999999.1"]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"version_compatible": True},
    {"hardware_compatible": "ampere-plus"},
    {"hardware_compatible": "same", "workspace_mib": 64},
    {"version_compatible": True, "hardware_compatible": "ampere-plus", "optimization_level": 5},
    {"compute_capabilities": ["8.9"]},
    {"compute_capabilities": ["7.5", "8.9", "12.0"], "strip_weights": True},
]

Ask = Callable[[Iterable[Engine], str, Gpu], list[str]]


@pytest.fixture(scope="module")
def ask(native_build: NativeBuild) -> Ask:
    """What C++ says of engines where a version and a GPU are here."""
    probes = ctypes.CDLL(str(native_build.probes))
    probes.probe_error.restype = ctypes.c_char_p
    said_to = ctypes.CFUNCTYPE(None, ctypes.c_char_p)

    def get(engines: Iterable[Engine], version: str, gpu: Gpu) -> list[str]:
        said: list[str] = []
        words = (text.encode() for text in (manifest_of(engines), version, gpu.name, gpu.compute_capability))
        status = probes.probe_why_they_cannot_run(*words, said_to(lambda text: said.append(text.decode())))
        assert status == 0, probes.probe_error().decode()
        return said

    return get


def manifest_of(engines: Iterable[Engine]) -> str:
    named = {f"engine-{number}": engine for number, engine in enumerate(engines)}
    files = {engine.file: FileRecord(sha256="0" * 64, size_bytes=1) for engine in named.values()}
    files |= {engine.source: FileRecord(sha256="0" * 64, size_bytes=1) for engine in named.values()}
    return Manifest(tool_version="0.1.0", model=make_card(), engines=named, files=files).model_dump_json()


def record(backend: str, built_with: dict[str, str], options: dict[str, Any]) -> Engine:
    receipt = {"options": options} if options else {}
    file = f"engines/x.{FLAVOURS[backend].suffix}"
    return Engine(
        file=file, backend=backend, precision="fp16", source="model.onnx", built_with=built_with, receipt=receipt
    )


def records() -> list[Engine]:
    engines = []
    for backend, version, gpu, options in product(FLAVOURS, [None, *BUILT_WITH], [None, *GPUS], OPTIONS):
        built_with = {"gpu": gpu.name, "compute_capability": gpu.compute_capability} if gpu else {}
        if version is not None:
            built_with[FLAVOURS[backend].module] = version
        engines.append(record(backend, built_with, options))
    return engines


@pytest.mark.parametrize("version", HERE)
@pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu.compute_capability)
def test_an_engine_runs_where_python_says_and_for_the_same_reasons(version: str, gpu: Gpu, ask: Ask) -> None:
    engines = records()
    expected = [why_it_cannot_run(engine, FLAVOURS[engine.backend], version, gpu) for engine in engines]

    assert ask(engines, version, gpu) == expected
    assert any(expected)


def test_the_words_are_one_line_whatever_a_manifest_says(ask: Ask) -> None:
    engine = record("tensorrt", {"tensorrt": "10\n3\x1b[2J", "compute_capability": "8\r\n7"}, {})

    (said,) = ask([engine], "10.3.0.26", GPUS[2])

    assert said.isprintable()
    assert said.startswith("built for TensorRT 10?3?[2J on sm_8??7; this machine has 10.3.0 on sm_87 (Orin)")
