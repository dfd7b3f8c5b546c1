"""Bundles with engines whose files hold nothing that could run, and how the C++ library refuses them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from segdino_deploy import Bundle
from segdino_deploy.engines.tensorrt.options import TensorRtOptions
from segdino_deploy.engines.tensorrt.versions import options_for_receipt
from segdino_deploy.manifest import Engine, Precision
from tests.cpp.bundle_probes import Refused

Copy = Callable[..., Bundle]
OPTIONS = {
    "none": TensorRtOptions(),
    "one": TensorRtOptions(workspace_mib=512),
    "many": TensorRtOptions(
        workspace_mib=1,
        optimization_level=5,
        aux_streams=0,
        version_compatible=True,
        hardware_compatible="ampere-plus",
        refittable=True,
        compute_capabilities=("8.9", "8.6"),
        dla_core=1,
        timing_cache=Path("some.cache"),
        low_memory=True,
    ),
    "stripped": TensorRtOptions(strip_weights=True, hardware_compatible="same"),
}


def record(file: str, backend: str, precision: Precision, options: TensorRtOptions | None = None) -> Engine:
    given = options_for_receipt(options) if options else {}
    return Engine(
        file=file,
        backend=backend,
        precision=precision,
        source="model.onnx",
        built_with={},
        receipt={"options": given} if given else {},
    )


def with_engines(bundle: Bundle, engines: dict[str, Engine]) -> Bundle:
    """The bundle with engines whose files hold nothing that could run."""
    files = {
        file: name.encode() * 1000 for name, engine in engines.items() for file in {*engine.files, *engine.read_files}
    }
    bundle.update(files, lambda manifest: manifest.model_copy(update={"engines": engines}))
    return bundle


def refusal(call: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as caught:
        call()
    assert caught.value.kind == "InputError"
    assert "\n" not in str(caught.value)
    return caught.value
