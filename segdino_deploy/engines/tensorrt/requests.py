"""What a TensorRT product does not build, said before a model is made for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segdino_deploy.engines.tensorrt.configuring import target
from segdino_deploy.engines.tensorrt.flavours import FLAVOURS
from segdino_deploy.engines.tensorrt.messages import Messages
from segdino_deploy.errors import InputError, MissingComponent
from segdino_deploy.gpu import find_gpu
from segdino_deploy.manifest import ModelCard

if TYPE_CHECKING:
    import tensorrt as trt

    from segdino_deploy.engines.build.options import BuildOptions

TURING = "7.5"  # the only compute capability that TensorRT-RTX builds for which has no bf16


def check_request(name: str, options: BuildOptions, _card: ModelCard) -> None:
    """InputError for what this product does not build, MissingComponent for what it builds with a GPU only."""
    flavour, asked = FLAVOURS[name], options.tensorrt
    if asked.refittable and options.precision == "int8":
        raise InputError(
            "--refittable: int8 engines cannot be refitted, for their scales belong to the weights that were "
            "calibrated: leave it out, or build --fp16"
        )
    if (asked.refittable or asked.strip_weights) and find_gpu() is None:
        which = "--refittable" if asked.refittable else "--strip-weights"
        raise MissingComponent(f"{which}: such an engine needs a GPU while it is built; build it on the target device")
    is_attention_fp32 = options.precision in ("fp32", "int8")  # int8 leaves it as it is
    if "attention-tensorrt" in options.lowering and is_attention_fp32 and flavour.compiles_on_device:
        raise InputError(
            f"--lowering: attention-tensorrt is for fp16 and bf16 on {name}, which has no such kernel in fp32: "
            f"leave it out for --{options.precision}"
        )
    if TURING in asked.compute_capabilities and options.precision == "bf16":
        raise InputError(f"--compute-capabilities: GPUs of {TURING} have no bf16: leave it out, or build --fp16")
    if asked.compute_capabilities:
        api = flavour.load()
        builder: trt.Builder = api.Builder(Messages(api).logger)
        target(builder.create_builder_config(), api, asked.compute_capabilities)
