"""Engines of another version or GPU are refused in words, before TensorRT can fail."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from segdino_deploy.engines.tensorrt.flavours import FLAVOURS
from segdino_deploy.engines.tensorrt.versions import (
    built_with,
    rebuild_command,
    why_it_cannot_run,
)
from segdino_deploy.gpu import Gpu
from tests.engines.tensorrt.helpers import engine_record

ORIN = Gpu("Orin", "8.7", "12.6", 1, 8 * 2**30)
H200 = Gpu("NVIDIA H200", "9.0", "13.0", 1, 140 * 2**30)


def test_another_version_on_another_gpu_is_said_in_words() -> None:
    said = why_it_cannot_run(engine_record("tensorrt", "10.3.0.30", ORIN), FLAVOURS["tensorrt"], "11.4.0.106", H200)
    assert said == "built for TensorRT 10.3.0 on sm_87; this machine has 11.4.0 on sm_90 (NVIDIA H200)"


@pytest.mark.parametrize(
    ("built", "options", "version", "gpu", "runs"),
    [
        (("10.3.0", ORIN), {}, "10.3.0", ORIN, True),
        (("10.3.0", ORIN), {}, "10.3.1", ORIN, False),
        (("10.3.0", ORIN), {}, "10.3.0", H200, False),
        (("10.3.0", ORIN), {"version_compatible": True}, "11.4.0", ORIN, True),
        (("11.4.0", ORIN), {"version_compatible": True}, "10.3.0", ORIN, False),  # only later ones
        (("10.3.0", ORIN), {"version_compatible": True}, "11.4.0", H200, False),
        (("10.3.0", ORIN), {"hardware_compatible": "ampere-plus"}, "10.3.0", H200, True),
        (("10.3.0", ORIN), {"hardware_compatible": "same"}, "10.3.0", H200, False),
    ],
)
def test_which_tensorrt_engines_run_where(
    built: tuple[str, Gpu], options: dict[str, Any], version: str, gpu: Gpu, runs: bool
) -> None:
    said = why_it_cannot_run(engine_record("tensorrt", *built, **options), FLAVOURS["tensorrt"], version, gpu)
    assert (said == "") is runs


def test_a_portable_rtx_engine_is_left_to_its_runtime_and_one_for_named_gpus_is_not() -> None:
    flavour = FLAVOURS["tensorrt-rtx"]
    portable, for_ada = (
        engine_record("tensorrt-rtx", "1.7.1", None),
        engine_record("tensorrt-rtx", "1.7.1", None, compute_capabilities=("8.9", "12.0")),
    )

    assert why_it_cannot_run(portable, flavour, "1.7.1", H200) == ""
    assert why_it_cannot_run(portable, flavour, "1.8.0", H200).startswith("built for TensorRT-RTX 1.7.1 on another GPU")
    assert why_it_cannot_run(for_ada, flavour, "1.7.1", H200) == (
        "built for TensorRT-RTX 1.7.1 on sm_89 and sm_120; this machine has 1.7.1 on sm_90 (NVIDIA H200)"
    )
    assert why_it_cannot_run(for_ada, flavour, "1.7.1", Gpu("RTX 4090", "8.9", "13.0", 1, 0)) == ""


def test_the_rebuild_command_has_the_options_that_the_engine_was_built_with() -> None:
    built = engine_record(
        "tensorrt", "10.3", ORIN, workspace_mib=64, version_compatible=True, timing_cache=Path("here.cache")
    )
    assert rebuild_command(built, Path("polyp.segdino")) == (
        "segdino-deploy build-engine polyp.segdino --fp16 --backend tensorrt --workspace 64 --version-compatible"
    )
    assert rebuild_command(built, Path("my models/polyp.segdino")).startswith(
        "segdino-deploy build-engine 'my models/polyp.segdino' --fp16 "
    )
    for_ada = engine_record("tensorrt-rtx", "1.7", None, compute_capabilities=("8.9",))
    assert rebuild_command(for_ada, Path("p.segdino")).endswith("--fp16 --backend tensorrt-rtx")


def test_a_bundle_from_elsewhere_cannot_put_commands_into_the_one_that_is_shown() -> None:
    hostile = engine_record("tensorrt", "10.3", ORIN).model_copy(
        update={"backend": "x; reboot", "receipt": {"options": {"a$(b)": "`c`", "workspace_mib": "1; rm -r ~"}}}
    )
    words = shlex.split(rebuild_command(hostile, Path("p.segdino")))
    assert words[4:] == ["--backend", "x; reboot", "--a$(b)", "`c`", "--workspace", "1; rm -r ~"]


def test_the_manifest_knows_library_gpu_and_cuda() -> None:
    assert built_with(FLAVOURS["tensorrt"], "10.3", ORIN) == {
        "tensorrt": "10.3",
        "gpu": "Orin",
        "compute_capability": "8.7",
        "cuda": "12.6",
    }
    assert built_with(FLAVOURS["tensorrt-rtx"], "1.7", None) == {"tensorrt_rtx": "1.7"}
