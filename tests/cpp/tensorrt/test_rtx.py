"""What is different with TensorRT-RTX, which compiles kernels where it runs and captures CUDA graphs by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from segdino_deploy.engines.tensorrt.runtime_cache import cache_file
from tests.cpp.tensorrt.conftest import CARD
from tests.cpp.tensorrt.simulation import (
    VERSION,
    EngineError,
    InputError,
    MissingComponent,
    OnGpu,
    Opened,
    Simulation,
    plan_of,
    record,
)
from tests.engines.run.model import assert_answers, make_images

# nvinfer1::EngineInvalidityDiagnostics
UNSUPPORTED_CC, OLD_CUDA_DRIVER, MALFORMED_ENGINE = 2, 4, 32

Open = Callable[..., Opened]


@pytest.fixture
def backend() -> str:
    return "tensorrt-rtx"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files_in(folder: Path) -> dict[Path, str]:
    return {path: path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_graphs_are_left_to_it(opened: Open, world: Simulation) -> None:
    engine = opened()

    for seed, batch in enumerate([1, 1, 1, 4, 4, 2, 1]):
        image = make_images(CARD, batch, seed)
        assert_answers(engine.run(image), image)

    assert world.log.count("whole graphs") == 1
    assert ("no graphs" in world.log, "capture" in world.log) == (False, False)


def test_it_reads_images_on_the_gpu_at_one_address(opened: Open, world: Simulation) -> None:
    engine = opened()
    pixels = make_images(CARD, 2)
    image = OnGpu(world, pixels)
    before = world.log.count("copy")

    assert_answers(engine.run_device(image.address, 2), pixels)

    assert world.log.count("copy") - before == 1  # a new address would cost a new graph
    image.free()


def test_what_was_compiled_is_kept_where_python_keeps_it(opened: Open, bundle: Path, cache: Path) -> None:
    engine = opened()
    place = cache_file(bundle / record("tensorrt-rtx").file, VERSION, "8.9")
    assert place is not None
    assert place.is_relative_to(cache)
    assert files_in(cache) == {place: "compiled "}  # already now: a process that is killed has not compiled for nothing

    shared = engine.share()
    assert files_in(cache) == {place: "compiled compiled "}
    shared.close()
    opened()
    assert files_in(cache) == {place: "compiled compiled compiled "}
    assert [path.name for path in bundle.rglob("*") if path.is_file()] == ["x.rtx"]


def test_a_cache_that_it_does_not_take_is_replaced(opened: Open, bundle: Path, cache: Path) -> None:
    (bundle / "engines/x.rtx").write_text(plan_of(CARD))
    place = cache_file(bundle / "engines/x.rtx", VERSION, "8.9")
    assert place is not None
    place.parent.mkdir(parents=True)
    place.write_text("of another version")

    opened()

    assert files_in(cache) == {place: "compiled "}


def test_a_cache_that_cannot_be_written_costs_no_result(opened: Open, cache: Path) -> None:
    cache.write_text("a file in the folder's place")
    image = make_images(CARD, 2)

    assert_answers(opened().run(image), image)

    assert cache.read_text() == "a file in the folder's place"


def test_without_the_variable_it_is_the_home_folder(
    opened: Open, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")  # to be ignored, by the specification
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    opened()
    place = cache_file(bundle / "engines/x.rtx", VERSION, "8.9")
    assert list(files_in(tmp_path / "home")) == [place]

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("USERPROFILE", raising=False)
    opened()  # nothing is kept then
    assert list(files_in(tmp_path / "home")) == [place]


def test_everything_goes_in_order(world: Simulation, bundle: Path) -> None:
    (bundle / "engines/x.rtx").write_text(plan_of(CARD))
    engine = world.open(CARD, record("tensorrt-rtx"), bundle)
    engine.run(make_images(CARD, 2))
    before = len(world.log)

    engine.close()

    gone = [name.removesuffix(" is gone") for name in world.log[before:] if name.endswith(" is gone")]
    assert gone == ["context", "config", "cache", "engine", "runtime"]


def test_what_is_no_engine_is_refused_before_it_is_read(opened: Open, world: Simulation, bundle: Path) -> None:
    world.set(validity=MALFORMED_ENGINE | OLD_CUDA_DRIVER)

    with pytest.raises(InputError) as caught:
        opened()

    assert str(caught.value) == (
        f"{bundle}/engines/x.rtx: it is no engine, or a damaged one; copy the bundle again, or build it here: "
        f"segdino-deploy build-engine '{bundle}' --fp16 --backend tensorrt-rtx"
    )


def test_its_diagnosis_is_told_where_the_engine_does_not_open_and_only_there(opened: Open, world: Simulation) -> None:
    world.set(validity=UNSUPPORTED_CC | OLD_CUDA_DRIVER)
    image = make_images(CARD, 1)
    assert_answers(opened().run(image), image)

    with pytest.raises(MissingComponent) as caught:
        opened(plan="damaged")

    words = "it was not built for this GPU and this machine's driver is too old; build it here: segdino-deploy"
    assert f"x.rtx: Serialization assertion failed; {words}" in str(caught.value)


def test_what_it_said_to_the_question_is_not_the_reason(opened: Open) -> None:
    with pytest.raises(EngineError, match=f"RTX {VERSION} cannot open .*: Serialization assertion failed; copy"):
        opened(plan="damaged")


def test_without_a_gpu_it_is_told_where_to_run(opened: Open, world: Simulation) -> None:
    world.set(gpus=0)

    with pytest.raises(MissingComponent, match=r"^tensorrt-rtx engines: no usable NVIDIA GPU here; run them on"):
        opened()


def test_an_engine_for_named_gpus_is_refused_on_another_one(opened: Open) -> None:
    with pytest.raises(
        MissingComponent, match=r"built for TensorRT-RTX 10\.3\.0 on sm_75 and sm_120; this machine has"
    ):
        opened(engine=record("tensorrt-rtx", compute_capabilities=["7.5", "12.0"]))
