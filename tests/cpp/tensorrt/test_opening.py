"""What is told before an engine is opened, and what TensorRT refuses, in one line and in Python's words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from segdino_deploy.manifest import LoweringRecord
from tests.cpp.tensorrt.conftest import CARD
from tests.cpp.tensorrt.simulation import (
    EngineError,
    InputError,
    MissingComponent,
    Opened,
    Refused,
    Simulation,
    plan_of,
    record,
)
from tests.engines.run.model import assert_answers, make_images

Open = Callable[..., Opened]


def test_without_a_gpu_it_is_told_where_to_run(opened: Open, world: Simulation) -> None:
    world.set(gpus=0)

    with pytest.raises(MissingComponent) as caught:
        opened()

    assert str(caught.value) == "tensorrt engines: no usable NVIDIA GPU here; run them on the target device"


def test_another_version_and_gpu_are_told_with_the_command_that_cures_them(world: Simulation, bundle: Path) -> None:
    engine = record(built_with={"tensorrt": "10.9.0.34", "compute_capability": "8.7"}, optimization_level=5)

    with pytest.raises(MissingComponent) as caught:  # the file is not even there
        world.open(CARD, engine, bundle)

    assert str(caught.value) == (
        f"{bundle}/engines/x.plan: built for TensorRT 10.9.0 on sm_87; this machine has 10.3.0 on sm_89 (Simulated GPU)"
        f"; build it here: segdino-deploy build-engine '{bundle}' --fp16 --backend tensorrt --optimization-level 5"
    )


def test_options_that_the_runtime_must_know_are_told_to_it(opened: Open, world: Simulation) -> None:
    library = world.library
    opened()
    assert (library.simulation_is_host_code_allowed(), library.simulation_dla_core()) == (0, -1)

    opened(engine=record(version_compatible=True, dla_core=1))

    assert (library.simulation_is_host_code_allowed(), library.simulation_dla_core()) == (1, 1)


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"damaged", EngineError, "cannot open {}: Serialization assertion failed; copy the bundle again, or build it"),
        (b"vtrt....", InputError, "its first bytes are those of a TensorRT-RTX engine; build it here: segdino-deploy"),
        (b"", InputError, "{}: cannot be read (it is empty); copy the bundle again"),
    ],
)
def test_what_is_no_engine_is_refused_in_one_line(
    content: bytes, error: type[Refused], words: str, opened: Open, bundle: Path
) -> None:
    with pytest.raises(error) as caught:
        opened(plan=content)

    assert words.format(bundle / "engines/x.plan") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(world: Simulation, bundle: Path) -> None:
    with pytest.raises(InputError, match=r"x\.plan: cannot be read \(No such file or directory\); copy the bundle"):
        world.open(CARD, record(), bundle)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"mask": "mask output 5 3 -1 32 32"},
            "mask is uint8 [-1, 32, 32]; by the model's card it is uint8 [-1, 16",
        ),
        (
            {"logits": "logits output 1 4 -1 3 16 32"},
            "logits is float16 [-1, 3, 16, 32]; by the model's card it is float32",
        ),
        ({"logits": ""}, "the engine has the tensors image, mask; the model's card names image, mask, logits"),
        (
            {"mask": "mask input 5 3 -1 16 32"},
            "mask is uint8 [-1, 16, 32]; by the model's card it is uint8 [-1, 16",
        ),
    ],
)
def test_engines_of_another_export_are_told_by_their_tensors(changes: dict[str, str], words: str, opened: Open) -> None:
    with pytest.raises(InputError) as caught:
        opened(plan=plan_of(CARD, changes))

    assert words in str(caught.value)
    assert "; build it here: segdino-deploy build-engine" in str(caught.value)


def test_a_stripped_engine_takes_its_weights_from_the_bundle(opened: Open, bundle: Path) -> None:
    engine, plan = record(strip_weights=True), plan_of(CARD) + "stripped\n"
    with pytest.raises(MissingComponent, match=r"holds no weights, and .*onnx with them is not there; copy"):
        opened(engine=engine, plan=plan)
    (bundle / "model.fp16.onnx").write_text("others")
    with pytest.raises(EngineError, match=r"cannot bring the weights of .*onnx into .*plan: the weights have other na"):
        opened(engine=engine, plan=plan)
    (bundle / "model.fp16.onnx").write_text("weights")

    image = make_images(CARD, 2)
    assert_answers(opened(engine=engine, plan=plan).run(image), image)


def test_weights_of_a_respelled_model_are_not_looked_for(opened: Open, bundle: Path) -> None:
    lowering = [LoweringRecord(part="qkv", chosen="as exported"), LoweringRecord(part="gelu", chosen="gelu-erf")]
    engine = record(strip_weights=True, workspace_mib=64).model_copy(update={"lowering": lowering})
    (bundle / "model.fp16.onnx").write_text("weights")

    with pytest.raises(MissingComponent) as caught:
        opened(engine=engine, plan=plan_of(CARD) + "stripped\n")

    assert str(caught.value) == (
        f"{bundle}/engines/x.plan: holds no weights, and was built from a respelled model (gelu-erf), which this "
        f"library cannot make; build it without --strip-weights: segdino-deploy build-engine '{bundle}' --fp16 "
        "--backend tensorrt --workspace 64"
    )
