"""A builder's configuration: the model's batch sizes and the options that were asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segdino_deploy.engines.tensorrt.flavours import TensorRtModule
from segdino_deploy.engines.tensorrt.options import TensorRtOptions
from segdino_deploy.errors import InputError
from segdino_deploy.export.graph import INPUT
from segdino_deploy.manifest import ModelCard

if TYPE_CHECKING:
    import tensorrt as trt


def configure(
    builder: trt.Builder, api: TensorRtModule, card: ModelCard, options: TensorRtOptions
) -> trt.IBuilderConfig:
    """What the builder is told. InputError, with the option's name, where this device or version cannot do it."""
    config: trt.IBuilderConfig = builder.create_builder_config()
    config.clear_flag(api.BuilderFlag.TF32)  # fp32 means fp32
    config.profiling_verbosity = api.ProfilingVerbosity.DETAILED  # types of layers can be read back
    if options.workspace_bytes is not None:
        config.set_memory_pool_limit(api.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.aux_streams is not None:
        config.max_aux_streams = options.aux_streams
    flags = {
        "VERSION_COMPATIBLE": options.version_compatible,
        "REFIT_INDIVIDUAL": options.refittable,
        "STRIP_PLAN": options.strip_weights,
        "GPU_FALLBACK": options.dla_core is not None,
    }
    for flag, is_set in flags.items():
        if is_set:
            config.set_flag(getattr(api.BuilderFlag, flag))
    if options.hardware_compatible is not None:
        config.hardware_compatibility_level = _hardware_level(api, options.hardware_compatible)
    if options.dla_core is not None:
        _use_dla(builder, config, api, options.dla_core)
    if options.compute_capabilities:
        target(config, api, options.compute_capabilities)
    if options.low_memory:
        builder.max_threads = 1
    if not card.batch.is_fixed:
        height, width = card.input_size
        profile = builder.create_optimization_profile()
        sizes = (card.batch.min, card.batch.opt, card.batch.max)
        profile.set_shape(INPUT, *(api.Dims([n, height, width, 3]) for n in sizes))
        config.add_optimization_profile(profile)
    return config


def _hardware_level(api: TensorRtModule, asked: str) -> trt.HardwareCompatibilityLevel:
    names = {"ampere-plus": "AMPERE_PLUS", "same": "SAME_COMPUTE_CAPABILITY"}
    level: trt.HardwareCompatibilityLevel | None = getattr(api.HardwareCompatibilityLevel, names[asked], None)
    if level is None:
        raise InputError(
            f"--hardware-compatible {asked}: needs TensorRT 10.9 or later, here is {api.__version__}; "
            "leave it out, or take ampere-plus"
        )
    return level


def _use_dla(builder: trt.Builder, config: trt.IBuilderConfig, api: TensorRtModule, core: int) -> None:
    if core >= builder.num_DLA_cores:
        raise InputError(f"--dla-core: {core}: this device has {builder.num_DLA_cores or 'no'} DLA cores")
    config.default_device_type = api.DeviceType.DLA
    config.DLA_core = core


def target(config: Any, api: TensorRtModule, capabilities: tuple[str, ...]) -> None:
    """TensorRT-RTX: kernels for these GPUs, which need not be here. (`tensorrt` has no such call.)"""
    known = {str(name)[2:]: value for name, value in vars(api)["ComputeCapability"].__members__.items()}
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        value = known.get(capability.replace(".", ""))
        if value is None or not config.set_compute_capability(value, index):
            fitting = ", ".join(f"{name[:-1]}.{name[-1]}" for name in known if name.isdigit())
            raise InputError(f"--compute-capabilities: {capability} is none that TensorRT-RTX builds for ({fitting})")
