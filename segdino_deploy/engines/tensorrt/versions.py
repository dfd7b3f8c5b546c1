"""Where an engine was built and where it may run, said before TensorRT's own error can appear."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from segdino_deploy.engines.tensorrt.flavours import Flavour
from segdino_deploy.engines.tensorrt.options import TensorRtOptions, option_of
from segdino_deploy.gpu import Gpu
from segdino_deploy.manifest import Engine

GPU, CAPABILITY, CUDA = "gpu", "compute_capability", "cuda"  # keys of `Engine.built_with`, beside the module's
RECEIPT_OPTIONS = "options"  # key of the options in an engine's receipt


def built_with(flavour: Flavour, version: str, gpu: Gpu | None) -> dict[str, str]:
    """What the manifest keeps: the library and, where one was there, the GPU and the CUDA version of its driver."""
    here = {flavour.module: version}
    if gpu is None:
        return here
    return here | {GPU: gpu.name, CAPABILITY: gpu.compute_capability, CUDA: gpu.cuda}


def why_it_cannot_run(engine: Engine, flavour: Flavour, version: str, gpu: Gpu) -> str:
    """In words, or empty: `built for TensorRT 10.3 on sm_87; this machine has 11.4 on sm_90`.

    An engine runs on the version that built it, on a later one where it is version compatible, and on the compute
    capabilities that it was built for.
    """
    options = engine.receipt.get(RECEIPT_OPTIONS, {})
    then = engine.built_with.get(flavour.module, version)
    later = bool(options.get("version_compatible")) and _numbers(version) >= _numbers(then)
    fits = (_numbers(then) == _numbers(version) or later) and _fits_gpu(engine, flavour, options, gpu)
    if fits:
        return ""
    where = " and ".join(map(_sm, _capabilities(engine, options))) or "another GPU"
    return (
        f"built for {flavour.title} {_short(then)} on {where}; "
        f"this machine has {_short(version)} on {_sm(gpu.compute_capability)} ({gpu.name})"
    )


def rebuild_command(engine: Engine, bundle: Path, *, same_targets: bool = False) -> str:
    """The command that builds the engine again, with the options that it was built with.

    For this machine's GPU, or for the `same_targets` as before.
    """
    given = engine.receipt.get(RECEIPT_OPTIONS, {})
    where = shlex.quote(str(bundle))
    # Quoted, all that a bundle from elsewhere may say: people paste this into a shell.
    words = [f"segdino-deploy build-engine {where} --{engine.precision} --backend {shlex.quote(engine.backend)}"]
    for name, value in given.items():
        if name == "compute_capabilities" and not same_targets:
            continue  # of the machine that it is built for now
        value = ",".join(value) if isinstance(value, list) else value
        option = shlex.quote(option_of(name))
        words.append(option if value is True else f"{option} {shlex.quote(str(value))}")
    return " ".join(words)


def options_for_receipt(options: TensorRtOptions) -> dict[str, object]:
    """The options that were given, as JSON; the place of the timing cache changes nothing in the engine."""
    given = {name: value for name, value in options.given().items() if name != "timing_cache"}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}


def _fits_gpu(engine: Engine, flavour: Flavour, options: Mapping[str, object], gpu: Gpu) -> bool:
    if options.get("hardware_compatible") == "ampere-plus":
        return _numbers(gpu.compute_capability) >= (8, 0)
    capabilities = _capabilities(engine, options)
    if flavour.builds_without_gpu and not options.get("compute_capabilities"):
        return True  # portable over GPUs; the runtime itself says which it refuses
    return not capabilities or gpu.compute_capability in capabilities


def _capabilities(engine: Engine, options: Mapping[str, object]) -> list[str]:
    asked = options.get("compute_capabilities")
    if isinstance(asked, list | tuple) and asked:
        return [str(capability) for capability in asked]
    built_on = engine.built_with.get(CAPABILITY)
    return [built_on] if built_on else []


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _short(version: str) -> str:
    return ".".join(version.split(".")[:3])


def _sm(capability: str) -> str:
    return "sm_" + capability.replace(".", "")
