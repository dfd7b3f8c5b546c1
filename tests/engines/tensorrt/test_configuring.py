"""Options that only a device or an older version can refuse: each is one line with the option's name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from segdino_deploy.engines.tensorrt.configuring import configure
from segdino_deploy.engines.tensorrt.flavours import FLAVOURS
from segdino_deploy.engines.tensorrt.messages import Messages
from segdino_deploy.engines.tensorrt.options import TensorRtOptions
from segdino_deploy.errors import InputError
from tests.engines.run.model import make_card

rtx: Any = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")


@pytest.fixture
def builder() -> Any:
    """NVIDIA's own, whose configurations know every flag of TensorRT."""
    return rtx.Builder(Messages(FLAVOURS["tensorrt-rtx"].load()).logger)


def configured(builder: Any, api: Any = rtx, **options: Any) -> Any:
    return configure(builder, api, make_card(1, 4), TensorRtOptions(**options))


def test_flags_are_those_that_were_asked_for_and_tf32_never_is(builder: Any) -> None:
    usual = configured(builder)
    assert not usual.get_flag(rtx.BuilderFlag.TF32)
    assert not usual.get_flag(rtx.BuilderFlag.VERSION_COMPATIBLE)

    compatible = configured(builder, version_compatible=True, refittable=True)
    assert compatible.get_flag(rtx.BuilderFlag.VERSION_COMPATIBLE)
    assert compatible.get_flag(rtx.BuilderFlag.REFIT_INDIVIDUAL)
    assert not compatible.get_flag(rtx.BuilderFlag.STRIP_PLAN)
    assert configured(builder, strip_weights=True).get_flag(rtx.BuilderFlag.STRIP_PLAN)


@pytest.mark.parametrize(("asked", "level"), [("same", "SAME_COMPUTE_CAPABILITY"), ("ampere-plus", "AMPERE_PLUS")])
def test_other_gpus_are_named_as_tensorrt_names_them(asked: Any, level: str) -> None:
    config = configured(Jetson(0), hardware_compatible=asked)

    assert config.hardware_compatibility_level == getattr(rtx.HardwareCompatibilityLevel, level)


def test_a_version_that_cannot_build_for_other_gpus_of_the_same_kind_says_so(builder: Any) -> None:
    older = SimpleNamespace(**{name: getattr(rtx, name) for name in dir(rtx) if not name.startswith("__")})
    older.HardwareCompatibilityLevel = SimpleNamespace(NONE=0, AMPERE_PLUS=1)
    older.__version__ = "10.3.0"

    with pytest.raises(InputError) as caught:
        configured(builder, older, hardware_compatible="same")
    assert str(caught.value) == (
        "--hardware-compatible same: needs TensorRT 10.9 or later, here is 10.3.0; leave it out, or take ampere-plus"
    )


class Jetson:
    """A builder with two DLA cores, and what it makes."""

    def __init__(self, cores: int) -> None:
        self.num_DLA_cores = cores
        self.flags: set[Any] = set()

    def create_builder_config(self) -> Any:
        return SimpleNamespace(
            clear_flag=self.flags.discard, set_flag=self.flags.add, add_optimization_profile=lambda _: 0
        )

    def create_optimization_profile(self) -> Any:
        return SimpleNamespace(set_shape=lambda *_: None)


def test_a_dla_core_is_used_with_the_gpu_for_what_it_cannot_run() -> None:
    jetson = Jetson(2)

    config = configured(jetson, dla_core=1)

    assert (config.default_device_type, config.DLA_core) == (rtx.DeviceType.DLA, 1)
    assert jetson.flags == {rtx.BuilderFlag.GPU_FALLBACK}


@pytest.mark.parametrize(("cores", "said"), [(0, "this device has no DLA cores"), (2, "this device has 2 DLA cores")])
def test_a_dla_core_that_is_not_there_is_refused(cores: int, said: str) -> None:
    with pytest.raises(InputError, match=f"--dla-core: 2: {said}"):
        configured(Jetson(cores), dla_core=2)


def test_a_dynamic_batch_becomes_a_profile(builder: Any) -> None:
    assert configured(builder).num_optimization_profiles == 1
    assert configure(builder, rtx, make_card(2, 2), TensorRtOptions()).num_optimization_profiles == 0
