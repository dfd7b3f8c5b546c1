"""Upstream's checkpoints as TensorRT engines, built and run on this machine's NVIDIA GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segdino_deploy import Bundle, build_engine
from segdino_deploy.canary import canary_for
from segdino_deploy.engines.build import BuildOptions
from segdino_deploy.engines.run import open_in_bundle
from segdino_deploy.engines.run.tensorrt import TensorRtRunner
from segdino_deploy.engines.tensorrt.flavours import FLAVOURS
from segdino_deploy.engines.tensorrt.options import TensorRtOptions
from segdino_deploy.errors import MissingComponent, SegdinoDeployError
from segdino_deploy.evidence import check_heads
from segdino_deploy.verify import verify_bundle
from tests.conftest import GOLDEN_NAMES
from tests.engines.run.model import make_card
from tests.engines.run.real_gpu import OnGpu, fetch, on_gpu, record, require_installed
from tests.engines.run.tiny_engine import build

pytestmark = on_gpu


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", GOLDEN_NAMES)
def test_golden_checkpoints_pass_their_canary(
    name: str, precision: Any, backend: str, bundle_copy: Callable[[str], Bundle], calibration_images: Path
) -> None:
    bundle = bundle_copy(name)
    options = BuildOptions(precision, backend, calibration_images if precision == "int8" else None)

    engine = build_engine(bundle, options)

    if engine.canary is None:
        with pytest.raises(MissingComponent) as caught:
            open_in_bundle(bundle, engine)
        pytest.skip(str(caught.value))
    assert engine.canary.passed
    verdicts = {verdict.name: verdict for verdict in verify_bundle(bundle)}
    assert not verdicts[Path(engine.file).stem].failed
    canary = canary_for(bundle, engine.source)
    runner = open_in_bundle(bundle, engine)
    assert isinstance(runner, TensorRtRunner)
    with runner:
        image = OnGpu(runner.memory, canary.image)
        for _ in range(3):
            outputs = runner.run({"image": canary.image})
            found = {key: fetch(runner.memory, array) for key, array in runner.run_device(image).items()}
            for key, array in outputs.items():
                if array.dtype == np.uint8:
                    assert (found[key] == array).mean() > 0.999
                else:
                    np.testing.assert_allclose(found[key], array, rtol=1e-2, atol=1e-2)
        image.free()
    assert check_heads(canary.logits, outputs, bundle.manifest.model.thresholds, precision).passed


def test_an_engine_without_weights_gets_them_from_the_bundle(
    backend: str, bundle_copy: Callable[[str], Bundle]
) -> None:
    bundle = bundle_copy("v1_convt")
    build_engine(bundle, BuildOptions("fp16", backend))  # so that the typed model is in the bundle
    try:
        engine = build_engine(bundle, BuildOptions("fp16", backend, tensorrt=TensorRtOptions(strip_weights=True)))
    except MissingComponent as error:  # and nothing else: what TensorRT refuses is a fault of ours
        pytest.skip(f"this machine builds none: {error}")
    if engine.canary is None:
        pytest.skip(f"{backend} does not run on this GPU")

    with open_in_bundle(bundle, engine) as runner:
        canary = canary_for(bundle, engine.source)
        outputs = runner.run({"image": canary.image})
    assert check_heads(canary.logits, outputs, bundle.manifest.model.thresholds, "fp16").passed


def test_an_engine_of_the_other_product_is_one_clear_error(tmp_path: Path) -> None:
    for flavour in FLAVOURS.values():
        require_installed(flavour)
    card = make_card()
    for made, opened in (("tensorrt", "tensorrt-rtx"), ("tensorrt-rtx", "tensorrt")):
        path = tmp_path / f"x.{FLAVOURS[opened].suffix}"
        path.write_bytes(build(made, card))
        with pytest.raises(SegdinoDeployError, match="build it here") as caught:
            TensorRtRunner(card, record(opened), path)
        assert "\n" not in str(caught.value)
