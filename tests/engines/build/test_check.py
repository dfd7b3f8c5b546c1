"""What is refused before a model is made: nothing is calibrated or built for a request that cannot end well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from segdino_deploy import Bundle, build_engine
from segdino_deploy.engines.build import BuildOptions
from segdino_deploy.engines.tensorrt.options import TensorRtOptions
from segdino_deploy.errors import InputError, MissingComponent
from segdino_deploy.gpu import has_gpu

Copy = Callable[..., Bundle]
RTX = BuildOptions("fp16", "tensorrt-rtx")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            replace(RTX, precision="int8", tensorrt=TensorRtOptions(refittable=True)),
            "--refittable: int8 engines cannot be refitted, .*: leave it out, or build --fp16",
        ),
        (
            replace(RTX, precision="fp32", lowering=("attention-tensorrt",)),
            "attention-tensorrt is for fp16 and bf16 on tensorrt-rtx, .*: leave it out for --fp32",
        ),
        (
            replace(RTX, precision="int8", lowering=("attention-tensorrt",)),
            "attention-tensorrt is for fp16 and bf16 on tensorrt-rtx, .*: leave it out for --int8",
        ),
        (
            replace(RTX, precision="bf16", tensorrt=TensorRtOptions(compute_capabilities=("7.5", "8.9"))),
            r"--compute-capabilities: GPUs of 7\.5 have no bf16: leave it out, or build --fp16",
        ),
        (
            replace(RTX, tensorrt=TensorRtOptions(compute_capabilities=("9.9",))),
            r"9\.9 is none that TensorRT-RTX builds for",
        ),
        (replace(RTX, precision="int8"), "name their folder with --calibration DIR"),
        (replace(RTX, calibration=Path("nowhere")), "nowhere"),
        (BuildOptions("bf16", "onnxruntime"), "no bf16 kernels"),
    ],
)
def test_what_cannot_be_built_is_refused_before_a_model_is_made(
    options: BuildOptions, said: str, bundle_copy: Copy, calibration_images: Path
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    bundle = bundle_copy()
    if options.precision == "int8" and options != replace(RTX, precision="int8"):
        options = replace(options, calibration=calibration_images)
    steps: list[str] = []

    with pytest.raises(InputError, match=said):
        build_engine(bundle, options, on_step=steps.append)

    assert steps == []
    assert Bundle.open(bundle.path).manifest == bundle.manifest


@pytest.mark.skipif(has_gpu(), reason="this machine has an NVIDIA GPU, so that such engines can be built")
@pytest.mark.parametrize("option", ["refittable", "strip_weights"])
def test_weights_that_may_change_later_need_a_gpu(option: str, bundle_copy: Copy) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    bundle = bundle_copy()
    steps: list[str] = []
    name = "--" + option.replace("_", "-")

    with pytest.raises(MissingComponent, match=f"{name}: such an engine needs a GPU while it is built"):
        build_engine(bundle, replace(RTX, tensorrt=TensorRtOptions(**{option: True})), on_step=steps.append)

    assert steps == []
    assert set(Bundle.open(bundle.path).manifest.onnx) == {"fp32"}  # no model was made for it


def test_a_group_that_the_model_does_not_have_is_named_before_images_are_read(
    bundle_copy: Copy, calibration_images: Path
) -> None:
    steps: list[str] = []
    wanted = BuildOptions("int8", "onnxruntime", calibration_images, fp32_groups=("blocks.99.qkv",))
    with pytest.raises(InputError, match=r"--fp32-groups: no group 'blocks\.99\.qkv' in this model"):
        build_engine(bundle_copy(), wanted, on_step=steps.append)
    assert steps == []
