"""A retrained head into real engines, on an NVIDIA GPU; `test_refit` does the same in host memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segdino_deploy import Bundle, build_engine
from segdino_deploy.engines.build import BuildOptions
from segdino_deploy.engines.refit import refit_bundle
from segdino_deploy.engines.tensorrt.options import TensorRtOptions
from segdino_deploy.errors import MissingComponent
from tests.conftest import GOLDEN
from tests.engines.run.real_gpu import on_gpu
from tests.engines.test_refit import retrained

pytestmark = on_gpu


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("name", ["v1_convt", "v2"])
def test_a_head_is_exchanged_and_exchanged_back(
    name: str, precision: Any, backend: str, bundle_copy: Callable[[str], Bundle], tmp_path: Path
) -> None:
    bundle = bundle_copy(name)
    try:
        engine = build_engine(bundle, BuildOptions(precision, backend, tensorrt=TensorRtOptions(refittable=True)))
    except MissingComponent as error:
        pytest.skip(f"this machine builds none: {error}")
    if engine.canary is None:
        pytest.skip(f"{backend} does not run on this GPU")

    for checkpoint in (retrained(name, tmp_path / "new.pth"), GOLDEN / f"{name}.pth"):
        done = refit_bundle(bundle, {"": checkpoint})

        assert done.engines == [f"{backend}-{precision}"]
        refitted = Bundle.open(bundle.path).manifest.engines[f"{backend}-{precision}"]
        assert refitted.canary is not None
        assert refitted.canary.passed  # which holds the new head's logits
