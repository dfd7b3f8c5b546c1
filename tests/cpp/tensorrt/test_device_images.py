"""Images that are on the GPU already, and GPUs other than the first one."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import byref, c_void_p
from pathlib import Path

import numpy as np
import pytest

from tests.cpp.tensorrt.conftest import CARD
from tests.cpp.tensorrt.simulation import InputError, OnGpu, Opened, Simulation, on_gpu, plan_of, record
from tests.engines.run.model import assert_answers, make_images

Open = Callable[..., Opened]


def test_an_aligned_image_on_the_gpu_is_read_where_it_is_and_another_one_is_copied(
    opened: Open, world: Simulation
) -> None:
    engine = opened()
    for offset, copies in ((0, 0), (256, 0), (128, 1)):
        image = OnGpu(world, make_images(CARD, 3), offset)
        before = len(world.log)
        for seed in range(3):  # ordinary runs, and graphs
            pixels = make_images(CARD, 3, seed)
            image.put(pixels)
            assert_answers(engine.run_device(image.address, 3), pixels)
            assert_answers(engine.run(pixels), pixels)
        assert world.log[before:].count("copy") == 3 * copies + 3 * 3  # image in, mask and logits out
        image.free()


def test_what_the_producers_stream_still_does_comes_first(opened: Open, world: Simulation) -> None:
    engine = opened()
    pixels = make_images(CARD, 2, 7)
    image, late, stream = OnGpu(world, np.zeros_like(pixels)), OnGpu(world, pixels), c_void_p()
    world.cuda("cudaStreamCreateWithFlags", byref(stream), 1)
    on_device = 3  # cudaMemcpyDeviceToDevice
    for _ in range(3):
        image.put(np.zeros_like(pixels))
        size = ctypes.c_size_t(pixels.nbytes)
        world.cuda("cudaMemcpyAsync", c_void_p(image.address), c_void_p(late.address), size, on_device, stream)
        assert_answers(engine.run_device(image.address, 2, stream.value), pixels)

    world.cuda("cudaStreamDestroy", stream)
    image.free()
    late.free()


def test_graphs_of_at_most_eight_addresses_are_kept(opened: Open, world: Simulation) -> None:
    engine = opened()
    images = [OnGpu(world, make_images(CARD, 1, seed)) for seed in range(10)]
    for number in [n for n in range(10) for _ in range(2)]:
        assert_answers(engine.run_device(images[number].address, 1), make_images(CARD, 1, number))
    assert world.graphs == 8
    before = world.log.count("capture")
    for number in (9, 2):  # still there
        assert_answers(engine.run_device(images[number].address, 1), make_images(CARD, 1, number))
    assert world.log.count("capture") == before
    for image in images:
        image.free()


def test_memory_of_the_host_or_of_another_gpu_is_refused_before_the_gpu_faults(opened: Open, world: Simulation) -> None:
    world.set(gpus=2)
    engine = opened()
    pixels = make_images(CARD, 1)
    with pytest.raises(InputError, match=r"^image is no memory of a GPU: one on GPU 0, where the engine is, is"):
        engine.run_device(pixels.ctypes.data, 1)
    with on_gpu(world, 1):
        image = OnGpu(world, pixels)
    with pytest.raises(InputError, match=r"^image is on GPU 1: one on GPU 0"):
        engine.run_device(image.address, 1)

    with on_gpu(world, 1):
        image.free()
    assert_answers(engine.run(pixels), pixels)


def test_an_engine_stays_on_the_gpu_of_the_thread_that_opened_it(world: Simulation, bundle: Path) -> None:
    world.set(gpus=2)
    (bundle / record().file).write_text(plan_of(CARD))
    with on_gpu(world, 1):
        engine = world.open(CARD, record(), bundle)
    image = make_images(CARD, 2)
    for _ in range(3):
        assert_answers(engine.run(image), image)
        assert world.gpu == 0  # the caller's is given back
    shared = engine.share()
    assert_answers(shared.run(image), image)
    with pytest.raises(InputError):
        shared.run_device(image.ctypes.data, 1)
    engine.close()
    shared.close()

    assert world.gpu == 0
